"""Numbered pushes: each reaches the page once and in order, whatever is cut on the way."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from hypothesis import given
from hypothesis import strategies as st

from recovery_app import RecoveryManager
from recovery_app._live.pushes import MAX_PUSH_BYTES, MAX_PUSHES, PushLog
from recovery_app._live.replies import Reply, ReplyCache
from recovery_app._live.sections import PUSHES, pack_section, take_section
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.consumers.wire import SHAPES, TOPIC, V2, Client, connected, recovery_of
from tests.test_metrics import counting

Pushed = tuple[str, int | None, Any]


class Ticker(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    recovery_save_interval = 0.0
    tasks: set[asyncio.Task[None]] = set()

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.count = 0
        if params.get("hello"):
            await self.push("hello", {"params": sorted(params)})

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        for _ in range(payload.get("times", 1)):
            self.count += 1
            await self.push("tick", {"count": self.count, "pad": "x" * payload.get("pad", 0)})
        if event == "break":
            raise RuntimeError("a handler that fails")
        if event == "note":
            await self.push("noted", {})
        if event == "save":
            await self.save_recovery()
        if event == "task":
            self.tasks.add(asyncio.create_task(self.push("later", {})))
        if event == "gather":
            await asyncio.gather(self.push("one", {}), self.push("two", {}))
        return {"count": self.count, "keys": sorted(payload)}

    async def tick(self, message: dict[str, Any]) -> None:
        self.count += 1
        await self.push("tick", {"count": self.count})


class SyncTicker(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_fields = ("count",)

    def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.count = 0

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        for _ in range(payload.get("times", 1)):
            self.count += 1
            self.push("tick", {"count": self.count})
        return {"count": self.count, "keys": sorted(payload)}


class Gathering(Ticker):
    recovery_save_interval = 3600


class Shaky(MemoryStorage):
    """A storage whose saves can be made to fail, or to land without anybody's knowing."""

    is_away = False
    lands = False
    before: Callable[[], None] | None = None

    async def asave_fenced(self, *arguments: Any, **options: Any) -> Any:
        if self.before is not None:
            self.before()
        if self.is_away:
            if self.lands:
                await super().asave_fenced(*arguments, **options)
            raise StorageUnavailable("Shaky", "a save")
        return await super().asave_fenced(*arguments, **options)


@pytest.fixture
def storage(clock: FakeClock) -> Shaky:
    return Shaky(clock=clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: Shaky
) -> RecoveryManager:
    return make_manager(clock=clock, storage=storage)


class Page:
    """A client that has its pushes numbered; ``got`` are those that came, in their order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.got: list[Pushed] = []
        self.frames: list[str] = []

    async def hear_until(self, event: str) -> dict[str, Any]:
        """Note each push until such a frame, and return its payload."""
        while (frame := await self.client.hear())["event"] != event:
            self._note(frame)
        self.frames.append(event)
        payload: dict[str, Any] = frame["payload"]
        return payload

    def _note(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame["event"])
        payload = frame["payload"]
        if frame["event"] not in ("phx_reply", "recovery:token"):
            self.got.append((frame["event"], payload.pop("_push", None), payload))

    async def join(self, token: str | None = None, received: Any = None, **params: Any) -> Any:
        reply = await self.client.join(TOPIC, token, _recv=received, **params)
        self.frames.append("phx_reply")
        return reply["response"]

    async def send(self, event: str = "add", **payload: Any) -> dict[str, Any]:
        await self.client.cast(event, payload)
        return await self.hear_until("phx_reply")

    async def hear_rest(self) -> None:
        """Note what else has come: this event, which no handler sees, is answered behind it."""
        await self.client.cast("recovery:received", {})
        await self.hear_until("phx_reply")
        self.frames.pop()

    @property
    def numbers(self) -> list[int | None]:
        return [number for _, number, _ in self.got]


@asynccontextmanager
async def page_of(
    manager: RecoveryManager, consumer: Any = Ticker, *, shape: str = V2
) -> AsyncIterator[Page]:
    async with connected(consumer, manager, shape=shape) as client:
        yield Page(client)


@pytest.mark.parametrize("consumer", [Ticker, SyncTicker])
async def test_each_push_has_a_number_and_comes_before_the_reply(
    manager: RecoveryManager, consumer: Any
) -> None:
    async with page_of(manager, consumer) as page:
        joined = await page.join()
        assert joined["_recovery"]["missed"] is False
        reply = await page.send(times=3)
        assert page.numbers == [1, 2, 3]
        assert [payload["count"] for *_, payload in page.got] == [1, 2, 3]
        assert page.frames == ["phx_reply", "tick", "tick", "tick", "phx_reply"]
        assert reply["response"]["keys"] == ["times"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_in_each_shape(manager: RecoveryManager, shape: str) -> None:
    async with connected(Ticker, manager, shape=shape) as client:
        topic = "" if shape == "bare" else TOPIC
        await client.join(topic, _recv=None)
        await client.cast("add", {}, topic=topic)
        assert (await client.hear())["payload"] == {"count": 1, "pad": "", "_push": 1}


async def test_a_client_that_does_not_ask_is_served_as_before(manager: RecoveryManager) -> None:
    async with connected(Ticker, manager) as client:
        joined = await client.join(TOPIC)
        assert "missed" not in joined["response"]["_recovery"]
        await client.cast("add", {"_recv": 3})
        assert (await client.hear())["payload"] == {"count": 1, "pad": ""}
        assert (await client.reply())["response"]["keys"] == ["_recv"], "it is the application's"


async def test_a_push_goes_out_after_the_save(manager: RecoveryManager, storage: Shaky) -> None:
    async with page_of(manager) as page:
        await page.join()
        sent: list[int] = []
        frames = page.client.raw.output_queue
        storage.before = lambda: sent.append(frames.qsize())
        await page.send(times=2)
        assert sent == [0], "one save, before any push or reply"
        assert page.numbers == [1, 2]


async def test_a_handler_that_fails_pushes_nothing(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join()
        assert (await page.send("break", times=2))["status"] == "error"
        await page.send()
        assert page.got == [("tick", 1, {"count": 1, "pad": ""})]


async def test_a_push_that_changes_no_state_is_stored_too(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send("note", times=0)
    async with page_of(manager) as page:
        await page.join(token)
        await page.hear_rest()
        assert page.got == [("noted", 1, {})]


async def test_what_a_handler_has_saved_stays_pushed(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        await page.join()
        await page.send("save")
        await page.send("task")
        await page.send("gather")
        await page.hear_rest()
        assert page.numbers == list(range(1, len(page.got) + 1))
        assert sorted(event for event, *_ in page.got) == [
            "later",
            "one",
            "tick",
            "tick",
            "tick",
            "two",
        ]


async def test_a_join_pushes_after_its_reply(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join(hello=True))["_recovery"]["token"]
        await page.hear_rest()
        assert page.got == [("hello", 1, {"params": ["hello"]})], "and _recv was no hook's to see"
        assert page.frames == ["phx_reply", "hello"]
    async with page_of(manager) as page:
        await page.join(token, None)
        await page.hear_rest()
        assert page.numbers == [1], "stored with the first state"


@pytest.mark.parametrize("received", [None, 0, 1, 2, 3])
async def test_what_the_page_lacks_is_sent_again(
    manager: RecoveryManager, received: int | None
) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=3)
        first = page.got
    with counting("pushes_") as changes:
        async with page_of(manager) as page:
            joined = await page.join(token, received)
            assert joined["_recovery"]["outcome"] == "recovered"
            assert joined["_recovery"]["missed"] is False
            await page.hear_rest()
            assert page.got == first[received or 0 :]
            await page.send()
            assert page.numbers[-1] == 4
    again = len(first) - (received or 0)
    expected = {"pushes_sent_total": 1, "pushes_repeated_total": again}
    assert changes == {name: number for name, number in expected.items() if number}


async def test_more_than_the_bound_is_told(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=MAX_PUSHES + 5)
        assert page.numbers == list(range(1, MAX_PUSHES + 6)), "on a good line all arrive"
    for received, missed in ((2, True), (5, False)):
        with counting("pushes_dropped") as changes:
            async with page_of(manager) as page:
                joined = await page.join(token, received)
                assert joined["_recovery"]["missed"] is missed
                await page.hear_rest()
                assert page.numbers == list(range(6, MAX_PUSHES + 6))
        assert changes.get("pushes_dropped_total", 0) == 5 - received


async def test_bytes_are_bounded_too(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        for _ in range(4):
            await page.send(pad=MAX_PUSH_BYTES // 3)
        await page.send(pad=MAX_PUSH_BYTES + 1)
        assert page.numbers == [1, 2, 3, 4, 5]
        await page.send(pad=1)
    async with page_of(manager) as page:
        joined = await page.join(token, 0)
        assert joined["_recovery"]["missed"] is True
        await page.hear_rest()
        assert page.numbers == [6]


async def test_what_the_page_has_is_kept_no_longer(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    pack = PushLog.pack

    def note(self: PushLog) -> bytes:
        kept.append(len(self._kept))
        return pack(self)

    monkeypatch.setattr(PushLog, "pack", note)
    async with page_of(manager) as page:
        await page.join()
        await page.send(times=3)
        reply = await page.send(_recv=3)
        assert reply["response"]["keys"] == [], "no hook sees it"
        await page.send("recovery:received", _recv=4)
        await page.send()
        assert page.numbers == [1, 2, 3, 4, 5], "the last but one event was no handler's"
    assert kept == [0, 3, 1, 1]


async def test_an_acknowledgement_with_a_number_counts_as_an_event(
    manager: RecoveryManager,
) -> None:
    async with page_of(manager) as page:
        await page.join()
        await page.send("recovery:received", _seq=1, _ack=0)
        reply = await page.send(_seq=2, _ack=1)
        assert (reply["status"], reply["response"]["_recovery"]["seq"]) == ("ok", 2)


@pytest.mark.parametrize("received", [-1, True, "3", 1.5, 2**53, [3]])
async def test_rubbish_counts_as_none(manager: RecoveryManager, received: Any) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=2)
        await page.send(_recv=received)
    async with page_of(manager) as page:
        await page.join(token, received)
        await page.hear_rest()
        assert page.numbers == [1, 2, 3]


async def test_an_outage_holds_pushes_back_until_a_save_goes_well(
    manager: RecoveryManager, storage: Shaky
) -> None:
    async with page_of(manager) as page:
        await page.join()
        storage.is_away = True
        reply = await page.send(_seq=1, _ack=0)
        assert reply["response"]["_recovery"]["seq"] == 0, "the reply goes out"
        await page.hear_rest()
        assert page.got == []
        storage.is_away = False
        await page.send(_seq=2, _ack=1)
        assert page.numbers == [1, 2]


async def test_a_gathered_save_holds_them_back_too(manager: RecoveryManager) -> None:
    async with page_of(manager, Gathering) as page:
        await page.join()
        await page.send()
        await page.hear_rest()
        assert page.got == []
        await page.send("save")
        assert page.numbers == [1, 2]


@pytest.mark.parametrize(("events", "pad"), [(100, 0), (20, 10_000)])
async def test_a_save_is_not_gathered_until_pushes_are_lost(
    manager: RecoveryManager, events: int, pad: int
) -> None:
    async with page_of(manager, Gathering) as page:
        token = (await page.join())["_recovery"]["token"]
        for _ in range(events):
            await page.send(times=2, pad=pad)
        got = len(page.numbers)
        assert events < got, "they go out before the interval ends"
        assert page.numbers == list(range(1, got + 1))
    async with page_of(manager, Gathering) as page:
        assert (await page.join(token, got))["_recovery"]["missed"] is False
        await page.hear_rest()
        assert page.numbers == list(range(got + 1, 2 * events + 1))


async def test_in_an_outage_only_so_many_wait(manager: RecoveryManager, storage: Shaky) -> None:
    async with page_of(manager) as page:
        await page.join()
        storage.is_away = True
        await page.send(times=MAX_PUSHES + 10)
        storage.is_away = False
        with counting("pushes_") as changes:
            await page.send()
        assert page.numbers == list(range(11, MAX_PUSHES + 12)), "the page sees the gap"
        assert changes == {"pushes_sent_total": MAX_PUSHES + 1, "pushes_dropped_total": 10}


async def test_without_a_snapshot_they_go_out_without_numbers(
    manager: RecoveryManager, storage: Shaky
) -> None:
    storage.is_away = True
    async with page_of(manager) as page:
        joined = await page.join(None, None, hello=True)
        assert joined["_recovery"]["token"] is None
        await page.send()
        assert page.numbers == [None, None]
        storage.is_away = False
        await page.send()
        assert page.frames[-3:] == ["recovery:token", "tick", "phx_reply"]
        assert page.numbers == [None, None, 1]


async def test_numbers_of_a_state_that_waits_are_not_used(
    manager: RecoveryManager, storage: Shaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=2)
    monkeypatch.setattr(Ticker, "restore_state", None)
    async with page_of(manager) as page:
        joined = await page.join(token, 1)
        assert (joined["_recovery"]["outcome"], joined["_recovery"]["token"]) == ("failed", None)
        assert joined["_recovery"]["missed"] is False
        await page.client.cast("add", {})
        token_frame = await page.hear_until("recovery:token")
        await page.hear_rest()
        assert page.numbers == [2], "after the one that the page has"
    monkeypatch.undo()
    async with page_of(manager) as page:
        await page.join(token_frame["token"], 2)
        await page.hear_rest()
        assert page.got == []


async def test_a_fresh_state_begins_with_one(manager: RecoveryManager, clock: FakeClock) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=2)
    clock.advance(seconds=manager.ttl + 1)
    async with page_of(manager) as page:
        joined = await page.join(token, 2)
        assert joined["_recovery"]["outcome"] == "expired"
        await page.send()
        assert page.numbers == [1]


async def test_a_copy_begins_with_one_and_tells_what_it_lacks(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        async with page_of(manager) as newer:
            await newer.join(token, 0)
            await newer.send(times=2)
            await newer.send()
            for received, missed in ((1, True), (3, False)):
                async with page_of(manager) as older:
                    joined = await older.join(token, received)
                    assert joined["_recovery"]["outcome"] == "copied"
                    assert joined["_recovery"]["missed"] is missed
                    await older.send()
                    assert older.numbers == [1]


async def test_a_client_without_numbers_in_between_is_noticed(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send(times=2)
    async with connected(Ticker, manager) as client:
        token = recovery_of(await client.join(TOPIC, token))["token"]
        await client.cast("add", {})
        assert "_push" not in (await client.hear())["payload"]
        await client.reply()
    async with page_of(manager) as page:
        joined = await page.join(token, 2)
        assert joined["_recovery"]["missed"] is True
        await page.send()
        assert page.numbers == [3]


async def test_a_page_that_was_overtaken_goes_on(manager: RecoveryManager) -> None:
    async with page_of(manager) as page:
        token = (await page.join())["_recovery"]["token"]
        await page.send()
        async with page_of(manager) as newer:
            await newer.join(token, 1)
            await newer.send()
            await page.send()
            assert page.frames[-3:] == ["recovery:token", "tick", "phx_reply"], "the token first"
            assert page.numbers == [1, 2]


# Cut between any two steps.


class Fated(Ticker):
    """A consumer whose events say what becomes of the save that follows each."""

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        storage: Any = self.scope["storage"]  # type: ignore[typeddict-item]
        storage.is_away, storage.lands = "outage" in event, event == "outage that lands"
        return await super().handle_event("add", payload)


class World:
    """A page whose connections are cut anywhere; ``told`` is what its code is told."""

    def __init__(self, manager: RecoveryManager, storage: Shaky) -> None:
        self.manager, self.storage = manager, storage
        self.token: str | None = None
        self.received: int | None = None
        self.told: list[int] = []

    async def visit(self, events: list[str], *, hears: int) -> None:
        """Connect, join and push; the line is cut once the page has heard so many frames."""
        self.storage.is_away = False
        async with connected(Fated, self.manager, storage=self.storage) as client:
            params = {"_recovery": self.token, "_recv": self.received}
            await client.send(TOPIC, "phx_join", params, ref="join", join_ref="join")
            for place in range(hears):
                frame = await client.hear()
                if place == 0:
                    for event in (*events, "recovery:received"):
                        await client.send(TOPIC, event, {}, ref=event, join_ref="join")
                if frame["ref"] == "recovery:received":
                    break
                self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        payload = frame["payload"]
        if frame["ref"] == "join":
            found = payload["response"]["_recovery"]
            assert not found["missed"]
            assert found["outcome"] in ("new", "recovered"), found
            self.token = found["token"]
        elif frame["event"] == "recovery:token":
            self.token = payload["token"]
        elif frame["event"] == "tick" and payload["_push"] > (self.received or 0):
            assert payload["_push"] == (self.received or 0) + 1, "no gap"
            self.received = payload["_push"]
            self.told.append(payload["count"])


EVENTS = ("event", "event", "event", "outage", "outage that lands")
VISIT = st.tuples(st.lists(st.sampled_from(EVENTS), max_size=5), st.integers(0, 14))


@given(visits=st.lists(VISIT, max_size=6))
def test_nothing_is_lost_and_nothing_comes_twice(visits: Any) -> None:
    async def run() -> None:
        clock = FakeClock()
        storage = Shaky(clock=clock)
        with RecoveryManager(secret=b"s" * 32, storage=storage, clock=clock) as manager:
            world = World(manager, storage)
            await world.visit([], hears=1)
            for events, hears in visits:
                await world.visit(events, hears=hears)
            await world.visit(["event"], hears=1_000)
            assert world.told == list(range(1, len(world.told) + 1)), "each once, in order"
            assert world.told, "the last one at least"

    asyncio.run(run())


# The stored bytes.


async def nowhere(_event: str, _payload: bytes) -> None: ...


@given(
    texts=st.lists(st.text(max_size=20), max_size=MAX_PUSHES + 3),
    replies=st.lists(st.booleans(), max_size=5),
)
def test_stored_pushes_are_read_again(texts: list[str], replies: list[bool]) -> None:
    log, cache = PushLog(nowhere, None), ReplyCache()
    for text in texts:
        log.add(text, {"text": text})
    log.commit()
    for is_ok in replies:
        cache.add(Reply(is_ok, b"{}"), "line")
    stored_pushes, stored_replies = take_section(
        PUSHES, pack_section(PUSHES, log.pack()) + cache.pack()
    )
    again, cache_again = PushLog(nowhere, len(texts)), ReplyCache(len(replies), stored_replies)
    again.restore(stored_pushes)
    assert (again._newest, again.missed) == (len(texts), False)
    assert cache_again.pack() == cache.pack()
    later = PushLog(nowhere, None)
    later.restore(stored_pushes)
    assert later._kept == log._kept[-MAX_PUSHES:]
    assert later.missed is (len(texts) > MAX_PUSHES)


def test_an_earlier_version_drops_them_and_the_replies_and_keeps_the_lines() -> None:
    log, cache = PushLog(nowhere, None), ReplyCache()
    log.add("tick", {})
    log.commit()
    cache.add(Reply(True, b"{}"), "line")
    earlier = ReplyCache(1, pack_section(PUSHES, log.pack()) + cache.pack())
    assert earlier.find(1) is None
    assert earlier.lines == [("line", 1)]


@pytest.mark.parametrize("cut", [1, 5, 8, 9, 12, 20, 30])
def test_what_is_cut_short_is_none(cut: int) -> None:
    log = PushLog(nowhere, None)
    log.add("tick", {"count": 1})
    log.commit()
    again = PushLog(nowhere, None)
    again.restore(take_section(PUSHES, pack_section(PUSHES, log.pack())[:cut])[0])
    assert (again._newest, again._kept) == (0, [])


def test_without_pushes_nothing_is_stored() -> None:
    assert PushLog(nowhere, None).pack() == b""
    assert take_section(PUSHES, pack_section(PUSHES, b"")) == (b"", b"")


async def test_what_was_not_sent_is_not_acknowledged() -> None:
    """A number of an older state may still come, behind a join that has begun anew."""
    sent: list[str] = []

    async def send(event: str, _payload: bytes) -> None:
        sent.append(event)

    log = PushLog(send, None)
    log.open(has_snapshot=True)
    log.add("tick", {})
    log.commit()
    log.take_acknowledgement({"_recv": 50})
    log.pack()
    log.note_saved()
    await log.release(has_snapshot=True)
    assert sent == ["tick"]


async def test_a_task_from_before_is_not_part_of_a_handler() -> None:
    log = PushLog(nowhere, None)
    began = asyncio.Event()

    async def ask() -> bool:
        await began.wait()
        return log.is_in_handler

    before = asyncio.create_task(ask())
    log.begin()
    began.set()
    within = asyncio.create_task(ask())
    assert (log.is_in_handler, await before, await within) == (True, False, True)
    log.end()
    assert not log.is_in_handler


def test_a_short_push_that_is_kept_takes_little_memory() -> None:
    log = PushLog(nowhere, None)
    gc.collect()
    # What runs the suite may have switched it on before, and all of that is traced too.
    was_on = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(MAX_PUSHES):
            log.add("number", {"number": number})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        if not was_on:
            tracemalloc.stop()
    # orjson's own bytes would take 4 KiB each.
    assert taken < MAX_PUSHES * 500
