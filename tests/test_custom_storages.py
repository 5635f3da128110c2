"""Storages of an application's own, as they are written for the contract: they go on working.

One has the three methods that each storage needs; one overrides every method by itself, with
the names that such code imports. Whatever calls them hands over bytes and seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.exceptions import (
    InvalidSignature,
    RecoveryError,
    SnapshotNotFound,
    StorageError,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_renewal,
    decide_revocation,
    decide_save,
    decide_takeover,
    decide_touch,
)
from recovery_app.storages import Entry, EntryPage, MemoryStorage, Storage, describe
from recovery_app.values import Page, Query, Sample

Result = TypeVar("Result")
NOW = 1_700_000_000.0
NOW_US = 1_700_000_000_000_000
TTL = 300.0
SOCKET = "socket-1"
STATE = {"count": 1, "items": ["tea"]}
LABELS: dict[str, Any] = {"applied_seq": 4, "version": 2, "view": "a view", "topic": "lv:t"}
TOKENS = 64
MAGIC = b"RS"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class LeastStorage(Storage):
    """The three methods that a storage needs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.calls: list[str] = []

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self.calls.append("save")
        check_key(key)
        check_bytes(data)
        check_seconds(ttl)
        self.kept[key] = data, self.clock() + ttl

    def load(self, key: str) -> bytes | None:
        self.calls.append("load")
        check_key(key)
        data, until = self.kept.get(key, (None, 0.0))
        return data if until > self.clock() else None

    def delete(self, key: str) -> bool:
        self.calls.append("delete")
        return self.kept.pop(key, None) is not None


class WholeStorage(Storage):
    """Every method of the contract, sync and async, without a call to ``super()``."""

    supports_atomic_fence = True
    supports_listing = True
    supports_native_async = True
    expires_by_itself = False
    keeps_expired = True
    sortable_by = frozenset({"socket_id"})
    is_shared = False
    threads = 1

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.calls: list[str] = []
        self.held = 0

    # What every storage has.

    def save(self, key: str, data: bytes, ttl: float) -> None:
        check_key(key)
        check_bytes(data)
        self._note("save", ttl)
        self.kept[key] = data, self.clock() + ttl

    def load(self, key: str) -> bytes | None:
        check_key(key)
        self._note("load")
        return self._live(key)

    def delete(self, key: str) -> bool:
        self._note("delete")
        return self.kept.pop(key, None) is not None

    # The fenced steps.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        check_bytes(data)
        self._note("save_fenced", ttl)
        return self._step(key, ttl, lambda stored: decide_save(stored, data)).verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        check_claim(claim)
        self._note("touch_fenced", ttl)
        if self._live(key) is None:
            return Verdict.ABSENT
        return self._step(key, ttl, lambda stored: decide_touch(stored, claim)).verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        check_claim(claim)
        check_now(now_us)
        assert newest_version is None or type(newest_version) is int
        self._note("take_over", ttl)
        decision = self._step(
            key,
            ttl,
            lambda stored: decide_takeover(
                stored, claim, now_us=now_us, newest_version=newest_version
            ),
        )
        # Made by hand, with the names that they had at first.
        if decision.verdict is Verdict.ABSENT:
            return Decision(verdict=Verdict.ABSENT)
        if decision.verdict is Verdict.FOREIGN:
            return Decision(Verdict.FOREIGN, decision.data)
        if decision.verdict is Verdict.NEWER:
            return Decision(verdict=Verdict.NEWER, data=decision.data)
        return decision

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        check_claim(claim)
        check_now(now_us)
        check_digest(binding)
        self._note("renew", ttl)
        return self._step(
            key, ttl, lambda stored: decide_renewal(stored, claim, now_us=now_us, binding=binding)
        )

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        check_claim(claim)
        check_now(now_us)
        self._note("revoke", ttl)
        return self._step(
            key, ttl, lambda stored: decide_revocation(stored, claim, now_us=now_us)
        ).verdict

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        self.held += 1
        yield

    def exclusive(self) -> AbstractContextManager[object]:
        return self._hold()

    # Looking after what is stored.

    def cleanup_expired(self) -> int:
        self._note("cleanup_expired")
        return sum(self.cleanup_batches(1))

    def cleanup_batches(self, size: int) -> Iterator[int]:
        assert type(size) is int
        for key in [key for key, (_, until) in self.kept.items() if until <= self.clock()]:
            del self.kept[key]
            yield 1

    def count_expired(self) -> int:
        self._note("count_expired")
        return sum(until <= self.clock() for _, until in self.kept.values())

    def estimate_count(self) -> int | None:
        self._note("estimate_count")
        return None

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        self._note("list_entries")
        assert (type(prefix), type(limit)) == (str, int)
        found = [entry for entry in self._entries() if entry.key > (cursor or "")]
        found = [entry for entry in found if describe(entry).socket_id.startswith(prefix)]
        more = found[limit:]
        return EntryPage(entries=found[:limit], next_cursor=found[limit - 1].key if more else None)

    def count(self) -> int:
        self._note("count")
        return len(self._entries())

    def browse(self, query: Query) -> Page:
        self._note("browse")
        items = [info for info in map(describe, self._entries()) if query.admits(info)]
        return Page(items=items, next_cursor=None, looked_at=len(items))

    def sample(self, limit: int = 1000) -> Sample:
        self._note("sample")
        items = [describe(entry) for entry in self._entries()]
        return Sample(items=items[:limit], total=len(items))

    def look_up(self, key: str) -> Entry | None:
        check_key(key)
        self._note("look_up")
        data = self._live(key)
        return None if data is None else Entry(key=key, data=data, expires_in=math.nan)

    def close(self) -> None:
        self._note("close")

    # The same for the event loop.

    async def run(self, call: Callable[[], Result]) -> Result:
        raise AssertionError("Nothing of this storage takes a thread.")

    def on_thread(self, call: Callable[[], Result]) -> Result:
        raise AssertionError("Nothing of this storage takes a thread.")

    def leave_thread(self) -> None:
        raise AssertionError("Nothing of this storage takes a thread.")

    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        await self._wait("asave")
        self.save(key, data, ttl)

    async def aload(self, key: str) -> bytes | None:
        await self._wait("aload")
        return self.load(key)

    async def adelete(self, key: str) -> bool:
        await self._wait("adelete")
        return self.delete(key)

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        await self._wait("asave_fenced")
        return self.save_fenced(key, data, ttl)

    async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        await self._wait("atouch_fenced")
        return self.touch_fenced(key, claim, ttl)

    async def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        await self._wait("atake_over")
        return self.take_over(key, claim, ttl, now_us=now_us, newest_version=newest_version)

    async def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Decision:
        await self._wait("arenew")
        return self.renew(key, claim, ttl, now_us=now_us, binding=binding)

    async def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        await self._wait("arevoke")
        return self.revoke(key, claim, ttl, now_us=now_us)

    async def acleanup_expired(self) -> int:
        await self._wait("acleanup_expired")
        return self.cleanup_expired()

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        await self._wait("alist_entries")
        return self.list_entries(prefix=prefix, cursor=cursor, limit=limit)

    async def acount(self) -> int:
        await self._wait("acount")
        return self.count()

    async def abrowse(self, query: Query) -> Page:
        await self._wait("abrowse")
        return self.browse(query)

    async def asample(self, limit: int = 1000) -> Sample:
        await self._wait("asample")
        return self.sample(limit)

    async def alook_up(self, key: str) -> Entry | None:
        await self._wait("alook_up")
        return self.look_up(key)

    async def acount_expired(self) -> int:
        await self._wait("acount_expired")
        return self.count_expired()

    async def aestimate_count(self) -> int | None:
        await self._wait("aestimate_count")
        return self.estimate_count()

    def _step(self, key: str, ttl: float, decide: Callable[[bytes | None], Decision]) -> Decision:
        with self.exclusive():
            decision = decide(self._live(key))
            if decision.verdict is Verdict.DONE and decision.data is not None:
                check_bytes(decision.data)
                self.kept[key] = decision.data, self.clock() + ttl
            return decision

    def _live(self, key: str) -> bytes | None:
        data, until = self.kept.get(key, (None, 0.0))
        return data if until > self.clock() else None

    def _entries(self) -> list[Entry]:
        return [
            Entry(key=key, data=data, expires_in=until - self.clock())
            for key, (data, until) in sorted(self.kept.items())
            if until > self.clock()
        ]

    def _note(self, name: str, ttl: float = TTL) -> None:
        check_seconds(ttl)
        self.calls.append(name)

    async def _wait(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)


def check_key(key: str) -> None:
    assert type(key) is str
    assert len(bytes.fromhex(key)) == 8


def check_bytes(data: bytes) -> None:
    assert type(data) is bytes
    assert data.startswith(MAGIC)


def check_seconds(ttl: float) -> None:
    assert type(ttl) is float
    assert ttl == TTL


def check_digest(binding: bytes) -> None:
    assert type(binding) is bytes
    assert len(binding) == 16


def check_now(now_us: int) -> None:
    assert type(now_us) is int
    assert 0 <= now_us - NOW_US < 1_000_000_000


def check_claim(claim: Claim) -> None:
    assert isinstance(claim, Claim)
    check_digest(claim.binding)
    check_now(claim.issued_us)


class Calls:
    """A manager's calls, all of them by the blocking or by the awaiting method."""

    def __init__(self, manager: RecoveryManager, *, is_async: bool) -> None:
        self.manager = manager
        self.is_async = is_async

    async def __call__(self, name: str, *args: Any, **options: Any) -> Any:
        if self.is_async:
            return await getattr(self.manager, f"a{name}")(*args, **options)
        return await asyncio.to_thread(getattr(self.manager, name), *args, **options)


Kind = type[LeastStorage] | type[WholeStorage]


def make(kind: Kind, clock: Clock | None = None) -> tuple[RecoveryManager, Any]:
    clock = clock or Clock()
    storage = kind(clock)
    options: dict[str, Any] = {"ttl": TTL, "cleanup_interval": None, "clock": clock}
    return RecoveryManager(secret="s" * 32, storage=storage, **options), storage


KINDS = pytest.mark.parametrize("kind", [LeastStorage, WholeStorage])
WAYS = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@KINDS
@WAYS
async def test_states_and_fences(kind: Kind, is_async: bool) -> None:
    clock = Clock()
    manager, storage = make(kind, clock)
    call = Calls(manager, is_async=is_async)
    mine: dict[str, Any] = {"binding": b"me"}
    first = manager.create_token(SOCKET, **mine)
    assert not await call("touch", first, **mine)
    for name in ("recover", "take_over"):
        with pytest.raises(SnapshotNotFound):
            await call(name, first, **mine)
    await call("save", first, STATE, **mine, **LABELS)
    assert await call("recover", first, **mine) == STATE
    assert await call("touch", first, **mine)
    for name, arguments in (("touch", ()), ("take_over", ()), ("save", ({},))):
        theirs = manager.create_token(SOCKET, binding=b"you")
        with pytest.raises(InvalidSignature):
            await call(name, theirs, *arguments, binding=b"you")
    with pytest.raises(VersionMismatch) as newer:
        await call("take_over", first, newest_version=1, **mine)
    assert (newer.value.stored, newer.value.supported) == (2, 1)
    clock.now += 1
    taken = await call("take_over", first, newest_version=2, **mine)
    assert (taken.state, taken.socket_id) == (STATE, SOCKET)
    assert (taken.applied_seq, taken.version, taken.view, taken.topic) == (4, 2, "a view", "lv:t")
    assert len(taken.token) == TOKENS
    with pytest.raises(TokenSuperseded):
        await call("save", first, {}, **mine)
    with pytest.raises(TokenSuperseded):
        await call("touch", first, **mine)
    # A join's reply may be lost, so that the older token is shown once more.
    clock.now += 1
    taken = await call("take_over", first, **mine)
    await call("save", taken.token, {"count": 2}, **mine)
    with pytest.raises(TokenSuperseded):
        await call("take_over", first, **mine)
    await call("close")
    assert list(map(len, storage.kept)) == [16]


@KINDS
@WAYS
async def test_renewals_and_revocations(kind: Kind, is_async: bool) -> None:
    clock = Clock()
    manager, _storage = make(kind, clock)
    call = Calls(manager, is_async=is_async)
    token = manager.create_token(SOCKET, binding=b"me")
    with pytest.raises(SnapshotNotFound):
        await call("renew", token, binding=b"me")
    await call("save", token, STATE, binding=b"me")
    clock.now += 1
    renewed = await call("renew", token, binding=b"me", new_binding=b"you")
    assert await call("recover", renewed, binding=b"you") == STATE
    clock.now += 1
    await call("revoke", renewed, binding=b"you")
    with pytest.raises(TokenSuperseded) as gone:
        await call("save", renewed, STATE, binding=b"you")
    assert gone.value.revoked
    with pytest.raises(SnapshotNotFound):
        await call("recover", renewed, binding=b"you")
    await call("close")


@KINDS
@WAYS
async def test_bytes_that_are_stored(kind: Kind, is_async: bool) -> None:
    """They are the same as the memory of the package would be given, to the byte."""
    clock = Clock()
    manager, storage = make(kind, clock)
    call = Calls(manager, is_async=is_async)
    token = manager.create_token(SOCKET)
    await call("save", token, STATE, **LABELS)
    ((data, until),) = storage.kept.values()
    assert until == NOW + TTL
    state = b'{"count":1,"items":["tea"]}'
    texts = b"socket-1a viewlv:tjson"
    assert data[:8] == MAGIC + bytes([2, 0]) + (2).to_bytes(4, "big")
    times = [int.from_bytes(data[at : at + 8], "big") for at in range(8, 48, 8)]
    assert times == [NOW_US, NOW_US, 5, NOW_US, NOW_US]
    assert data[64:80] == bytes(16)
    assert (data[80:96] != bytes(16)) is storage.is_shared
    assert data[96:] == bytes.fromhex("0008 0006 0004 0004 00000000") + texts + state
    clock.now += 1
    taken = await call("take_over", token)
    ((raised, until),) = storage.kept.values()
    assert until == NOW + 1 + TTL
    assert raised == data[:8] + taken.issued_us.to_bytes(8, "big") + data[16:]
    assert taken.issued_us == NOW_US + 1_000_000
    own = MemoryStorage(clock=clock)
    options: dict[str, Any] = {"ttl": TTL, "cleanup_interval": None, "clock": clock}
    with RecoveryManager(secret="s" * 32, storage=own, **options) as other:
        own.save(next(iter(storage.kept)), raised, TTL)
        assert other.recover(taken.token) == STATE
    await call("close")


@WAYS
async def test_looking_into_a_whole_storage(is_async: bool) -> None:
    clock = Clock()
    manager, storage = make(WholeStorage, clock)
    call = Calls(manager, is_async=is_async)
    tokens = [manager.create_token(f"socket-{number}") for number in range(3)]
    for token in tokens:
        await call("save", token, STATE)
    assert await call("count") == 3
    page = await call("snapshots", prefix="socket-", limit=2)
    rest = await call("snapshots", cursor=page.next_cursor)
    assert len(page.items) == 2
    assert {info.socket_id for info in page.items + rest.items} == {
        "socket-0",
        "socket-1",
        "socket-2",
    }
    found = await call("browse", Query(prefix="socket-1"))
    (info,) = found.items
    assert (info.socket_id, info.size_bytes) == ("socket-1", len(b'{"count":1,"items":["tea"]}'))
    assert (await call("sample", 2)).total == 3
    assert (await call("inspect", info.socket_hash)).state == STATE
    assert await call("revoke_socket", info.socket_hash)
    assert (await call("inspect", info.socket_hash)).is_revoked
    assert not await call("revoke_socket", info.socket_hash)
    assert not await call("revoke_socket", "00" * 8)
    clock.now += TTL
    assert await call("cleanup_expired") == 3
    await call("close")
    prefix = "a" if is_async else ""
    names = ["save_fenced", "count", "list_entries", "browse", "sample", "look_up", "revoke"]
    assert {f"{prefix}{name}" for name in [*names, "cleanup_expired"]} <= set(storage.calls)
    assert "close" in storage.calls


@WAYS
async def test_looking_into_a_least_storage(is_async: bool) -> None:
    manager, _storage = make(LeastStorage)
    call = Calls(manager, is_async=is_async)
    token = manager.create_token(SOCKET)
    await call("save", token, STATE)
    for name in ("count", "snapshots", "browse", "sample"):
        with pytest.raises(StorageError):
            await call(name)
    assert await call("cleanup_expired") == 0
    key = next(iter(_storage.kept))
    inspected = await call("inspect", key)
    assert inspected.state == STATE
    assert math.isnan(inspected.info.expires_in_seconds)
    assert await call("revoke_socket", key)
    with pytest.raises(RecoveryError):
        await call("save", token, STATE)
    await call("close")


async def test_defaults_of_a_least_storage() -> None:
    """Its own ``run`` and ``exclusive`` are used, as far as it has them."""
    used: list[str] = []

    class Careful(LeastStorage):
        async def run(self, call: Callable[[], Result]) -> Result:
            used.append("run")
            return await super().run(call)

        def on_thread(self, call: Callable[[], Result]) -> Result:
            used.append("on_thread")
            return call()

        @contextlib.contextmanager
        def exclusive(self) -> Iterator[None]:
            used.append("exclusive")
            yield

    manager, storage = make(Careful)
    token = manager.create_token(SOCKET)
    await manager.asave(token, STATE)
    assert used == ["run", "on_thread", "exclusive"]
    assert storage.calls == ["load", "save"]
    assert await manager.arecover(token) == STATE
    assert used[3:] == ["run", "on_thread"]
    assert storage.calls[2:] == ["load"]
    await manager.aclose()


# Through a consumer.


class Counter(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    recovery_version = 2

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.count = 0

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        if event == "renew":
            await self.renew_recovery()
        return {"count": self.count}


class OpenPage:
    """A page's connection."""

    def __init__(self, line: WebsocketCommunicator) -> None:
        self.line = line

    async def say(self, event: str, payload: Any) -> None:
        await self.line.send_to(text_data=json.dumps(["1", "1", "lv", event, payload]))

    async def hear(self) -> tuple[str, dict[str, Any]]:
        _, _, _, event, payload = json.loads(await self.line.receive_from(timeout=10))
        return event, payload.get("response", payload)

    async def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        await self.say(event, payload)
        event, response = await self.hear()
        assert event == "phx_reply"
        return response


@contextlib.asynccontextmanager
async def open_page(manager: RecoveryManager) -> AsyncIterator[OpenPage]:
    line = WebsocketCommunicator(Counter.as_asgi(), "/ws")
    line.scope.update(cast("Any", {"recovery": manager}))
    assert (await line.connect(timeout=10))[0]
    yield OpenPage(line)
    await line.disconnect(timeout=10)


@KINDS
async def test_pages(kind: Kind) -> None:
    clock = Clock()
    manager, storage = make(kind, clock)
    async with open_page(manager) as page:
        joined = (await page.ask("phx_join"))["_recovery"]
        assert joined["outcome"] == "new"
        assert (await page.ask("add"))["count"] == 1
        assert (await page.ask("add", _seq=1))["_recovery"] == {"seq": 1}
    clock.now += 1
    async with open_page(manager) as old:
        back = await old.ask("phx_join", _recovery=joined["token"])
        assert (back["count"], back["_recovery"]["outcome"]) == (2, "recovered")
        assert back["_recovery"]["seq"] == 1
        await old.say("renew", {})
        event, renewed = await old.hear()
        assert event == "recovery:token"
        assert (await old.hear())[1]["count"] == 3
        clock.now += 1
        async with open_page(manager) as new:
            back = await new.ask("phx_join", _recovery=renewed["token"])
            assert (back["count"], back["_recovery"]["outcome"]) == (3, "recovered")
            assert (await new.ask("add"))["count"] == 4
        await old.say("add", {})
        event, copied = await old.hear()
        assert event == "recovery:token"
        assert copied["token"] != renewed["token"]
        assert (await old.hear())[1]["count"] == 4
    async with open_page(manager) as page:
        late = (await page.ask("phx_join", _recovery=joined["token"]))["_recovery"]
        assert late["outcome"] == "copied"
    await manager.aclose()
    if kind is WholeStorage:
        asked = {name for name in storage.calls if name.startswith("a")}
        assert asked == {"asave_fenced", "atake_over", "arenew", "aload"}
    else:
        assert set(storage.calls) == {"save", "load"}


@KINDS
async def test_pages_that_stay_open(kind: Kind) -> None:
    """Each quarter of the time to live a page touches what is stored of it."""
    storage = kind(Clock())
    brief = 0.4

    class Brief(kind):  # type: ignore[misc, valid-type]
        touched = asyncio.Event()

        def save(self, key: str, data: bytes, ttl: float) -> None:
            assert ttl == brief
            storage.kept[key] = data, NOW + ttl

        def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
            assert ttl == brief
            return storage.save_fenced(key, data, TTL)

        async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
            assert ttl == brief
            check_claim(claim)
            self.touched.set()
            return storage.touch_fenced(key, claim, TTL)

    options: dict[str, Any] = {"ttl": brief, "cleanup_interval": None, "clock": storage.clock}
    with RecoveryManager(secret="s" * 32, storage=Brief(Clock()), **options) as manager:
        async with open_page(manager) as page:
            await page.ask("phx_join")
            await asyncio.wait_for(Brief.touched.wait(), timeout=60)
