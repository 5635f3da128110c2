"""`MigratingStorage`: the contract on real storages and with all in the old one, and its races.

A race is told step by step: a storage that does something else just before or after one of the
calls that a step makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from recovery_app._core.tokens import hash_socket_id
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import (
    StorageError,
    StorageUnavailable,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.fencing import Decision, Verdict
from recovery_app.health import acheck_storage
from recovery_app.snapshots import Header, Snapshot, is_marker
from recovery_app.storages import DatabaseStorage, Entry, MemoryStorage, MigratingStorage, Storage
from recovery_app.storages.migrating.flows import Flow
from recovery_app.storages.migrating.steps import Steps
from recovery_app.storages.migrating.tombstones import MOVED_VERSION, read_held
from recovery_app.testing.contract.base import (
    KEY,
    OTHER_KEY,
    OWNER,
    STRANGER,
    claim_of,
    snapshot_bytes,
)
from recovery_app.testing.contract.decisions import DecisionTests
from recovery_app.testing.contract.fenced import FencedTests
from recovery_app.testing.contract.listing import ListingTests
from recovery_app.testing.contract.plain import PlainTests
from recovery_app.testing.contract.races import RaceTests, at_once, fence_of
from tests.clock import FakeClock
from tests.core.redis_storages import RedisMaker, on_one
from tests.core.support import make_manager
from tests.support.processes import Process

TTL = 60
"""The lifetime of what the tests store."""


# The contract, with each snapshot in the old storage.


class FilledOld(MigratingStorage):
    """A storage into which earlier processes, with the old storage, have saved all there is."""

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self.new.delete(key)
        self.old.save(key, data, ttl)
        self._steps = Steps(self.new, self.old, self.clock)

    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        await self.new.adelete(key)
        await self.old.asave(key, data, ttl)
        self._steps = Steps(self.new, self.old, self.clock)


class TestAllInOld(DecisionTests, FencedTests, ListingTests, PlainTests):
    """Each step decides by what is in the old storage, and leaves what one storage would."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    def make_storage(self, clock: Clock) -> Storage:
        return FilledOld(MemoryStorage(clock=clock), MemoryStorage(clock=clock), clock=clock)


class TestFromDatabaseToRedis(FencedTests, RaceTests):
    """The steps and races of the contract, on two servers' storages."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def storage(self, clock: FakeClock, redis_server: Process) -> Iterator[Storage]:
        new = RedisMaker(fixture="redis_server", options=on_one)(clock)
        storage = MigratingStorage(new, DatabaseStorage(clock=clock), clock=clock)
        yield storage
        storage.close()


class TestFromRedisToDatabase(FencedTests):
    """The other way, where the tombstones are in Redis."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def storage(self, clock: FakeClock, redis_server: Process) -> Iterator[Storage]:
        old = RedisMaker(fixture="redis_server", options=on_one)(clock)
        storage = MigratingStorage(DatabaseStorage(clock=clock), old, clock=clock)
        yield storage
        storage.close()

    def test_tombstones_in_redis(self, storage: MigratingStorage, clock: FakeClock) -> None:
        claim, now_us = claim_of(to_us(clock())), to_us(clock())
        storage.old.save_fenced(KEY, snapshot_bytes(now_us), TTL)
        for _ in range(5):
            clock.advance(seconds=TTL / 4)
            assert storage.touch_fenced(KEY, claim, TTL) is Verdict.DONE
        assert read_held(storage.old.load(KEY)).is_moved
        storage.old.revoke(KEY, claim, TTL, now_us=now_us + 1)
        assert storage.touch_fenced(KEY, claim, TTL) is Verdict.REVOKED


# Two processes that know both storages, and the old storage as the others use it.


class Site:
    """Two processes with both storages, and one with the old storage only."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.new = MemoryStorage(clock=self.clock)
        self.old = MemoryStorage(clock=self.clock)
        self.nodes = [MigratingStorage(self.new, self.old, clock=self.clock) for _ in range(2)]
        self.start_us = to_us(self.clock())

    def token(self, number: int) -> int:
        """Return the timestamp of a token: the higher the number, the newer."""
        return self.start_us + number

    def data(self, number: int, state: bytes, **options: Any) -> bytes:
        """Return a snapshot saved with a token."""
        return snapshot_bytes(self.token(number), state, floor=self.token(1), **options)

    def save_in_old(self, number: int, state: bytes) -> Verdict:
        return self.old.save_fenced(KEY, self.data(number, state), TTL)

    def take_over(self, storage: Storage, number: int = 1, *, now: int = 50) -> Decision:
        """Take over as a page that shows a token does."""
        claim = claim_of(self.token(number))
        return storage.take_over(KEY, claim, TTL, now_us=self.token(now), newest_version=0)

    def taking_over(self, node: int, *, now: int = 50) -> Flow[Decision]:
        """Return the same as a flow, for a race."""
        claim = claim_of(self.token(1))
        steps = self.nodes[node]._steps
        return steps.take_over(KEY, claim, TTL, now_us=self.token(now), newest_version=0)


@pytest.fixture
def site() -> Site:
    return Site()


def state_of(decision: Decision) -> bytes:
    assert decision.verdict is Verdict.DONE
    return Snapshot.from_bytes(decision.data or b"").state


class Running:
    """A flow that is run call by call."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self._next = next(flow)
        self.result: Any = None
        self.is_done = False

    def advance(self, calls: int = 1) -> bool:
        """Make some of its calls; return whether it has ended."""
        for _ in range(calls):
            if self.is_done:
                break
            storage, method, arguments, options = self._next
            try:
                returned = getattr(storage, method)(*arguments, **options)
                self._next = self._flow.send(returned)
            except StopIteration as stop:
                self.is_done, self.result = True, stop.value
        return self.is_done

    def count(self) -> int:
        """Make all calls and return their number."""
        number = 1
        while not self.advance():
            number += 1
        return number

    def finish(self) -> Any:
        """Make all other calls and return what comes of them."""
        while not self.advance():
            pass
        return self.result


MOST_CALLS = 20


def test_a_page_is_taken_over_from_the_old_storage(site: Site) -> None:
    site.save_in_old(1, b"state")
    taken = site.take_over(site.nodes[0])
    assert state_of(taken) == b"state"
    assert fence_of(taken) == site.token(50)
    assert site.new.load(KEY) == taken.data == site.nodes[1].load(KEY)
    assert read_held(site.old.load(KEY)).is_moved
    assert b"state" not in (site.old.load(KEY) or b"")
    assert state_of(site.take_over(site.nodes[1], now=60)) == b"state"


def test_a_move_keeps_the_tokens_that_may_save(site: Site) -> None:
    site.save_in_old(20, b"state")
    node = site.nodes[0]
    assert node.save_fenced(KEY, site.data(19, b"late"), TTL) is Verdict.FENCED
    assert site.new.load(KEY) is None, "what is refused moves nothing"
    assert node.touch_fenced(KEY, claim_of(site.token(20)), TTL) is Verdict.DONE
    assert site.new.load(KEY) == site.data(20, b"state")
    assert node.save_fenced(KEY, site.data(20, b"more"), TTL) is Verdict.DONE
    assert site.new.load(KEY) == site.data(20, b"more")


def test_reading_moves_nothing(site: Site) -> None:
    site.save_in_old(1, b"state")
    node = site.nodes[0]
    assert node.load(KEY) == site.data(1, b"state")
    entry = node.look_up(KEY)
    assert entry is not None
    assert (entry.data, entry.expires_in) == (site.data(1, b"state"), TTL)
    assert site.new.load(KEY) is None
    assert site.save_in_old(1, b"more") is Verdict.DONE


class Unused(MemoryStorage):
    """A storage that nobody may call."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("load", "save", "save_fenced", "touch_fenced", "renew"):
            raise AssertionError(f"{name} was called")
        return super().__getattribute__(name)


def test_from_then_on_saves_go_to_the_new_storage_only(site: Site) -> None:
    site.save_in_old(1, b"state")
    node = site.nodes[0]
    site.take_over(node)
    node.old = node._steps.old = Unused(clock=site.clock)
    for state in (b"one", b"two"):
        assert node.save_fenced(KEY, site.data(50, state), TTL) is Verdict.DONE
    assert Snapshot.from_bytes(site.new.load(KEY) or b"").state == b"two"


def test_what_each_step_costs(site: Site) -> None:
    node = site.nodes[0]
    node.load(OTHER_KEY)
    site.save_in_old(1, b"state")
    assert Running(site.taking_over(0)).count() == 8
    assert Running(site.taking_over(0)).count() == 4
    claim = claim_of(site.token(51))
    assert Running(node._steps.touch_fenced(KEY, claim, TTL)).count() == 2
    begun = site.data(1, b"begun")
    assert Running(node._steps.save_fenced(OTHER_KEY, begun, TTL)).count() == 4


# Races.


@pytest.mark.parametrize("calls", range(MOST_CALLS))
def test_a_process_may_die_at_any_moment(site: Site, calls: int) -> None:
    site.save_in_old(1, b"state")
    Running(site.taking_over(0)).advance(calls)
    assert state_of(site.take_over(site.nodes[1], now=60)) == b"state"
    assert site.save_in_old(1, b"late") is Verdict.FENCED


@pytest.mark.parametrize("calls", range(MOST_CALLS))
def test_an_older_connection_saves_meanwhile_or_is_refused(site: Site, calls: int) -> None:
    site.save_in_old(1, b"state")
    move = Running(site.taking_over(0))
    move.advance(calls)
    verdict = site.save_in_old(1, b"newer")
    assert verdict in (Verdict.DONE, Verdict.FENCED)
    assert state_of(move.finish()) == (b"newer" if verdict is Verdict.DONE else b"state")


@pytest.mark.parametrize("calls", range(MOST_CALLS))
def test_a_takeover_with_the_old_storage_meanwhile(site: Site, calls: int) -> None:
    site.save_in_old(1, b"state")
    move = Running(site.taking_over(0))
    move.advance(calls)
    other = site.take_over(site.old, now=40)
    saved = Verdict.FENCED
    if other.verdict is Verdict.DONE:
        theirs = Header.read(other.data or b"").fence - site.start_us
        saved = site.save_in_old(theirs, b"newer")
    else:
        # The client keeps its token, and gets to the other kind of process at last.
        assert other.verdict is Verdict.VERSION_TOO_NEW
    ours = move.finish()
    # Of two takeovers with one token both succeed, and the later one's saves count.
    assert state_of(ours) == (b"newer" if saved is Verdict.DONE else b"state")
    if other.verdict is Verdict.DONE:
        assert site.save_in_old(theirs, b"late") is not Verdict.DONE


@pytest.mark.parametrize("calls", range(MOST_CALLS))
@pytest.mark.parametrize("saves", [False, True])
def test_two_processes_move_the_same_snapshot(site: Site, calls: int, saves: bool) -> None:
    site.save_in_old(1, b"state")
    first = Running(site.taking_over(0))
    first.advance(calls)
    second = site.take_over(site.nodes[1], now=60)
    assert state_of(second) == b"state"
    newest = b"state"
    if saves:
        number = fence_of(second) - site.start_us
        verdict = site.nodes[1].save_fenced(KEY, site.data(number, b"newer"), TTL)
        assert verdict is Verdict.DONE
        newest = b"newer"
    ours = first.finish()
    assert state_of(ours) == newest or fence_of(ours) < fence_of(second)
    assert fence_of(ours) != fence_of(second)
    assert state_of(site.take_over(site.nodes[0], now=70)) == newest


def test_takeovers_in_threads_get_a_fence_each(site: Site) -> None:
    site.save_in_old(1, b"state")
    storages: Sequence[MigratingStorage] = site.nodes * 2

    def take_over(number: int) -> int:
        while True:
            try:
                return fence_of(site.take_over(storages[number], now=0))
            except StorageUnavailable:  # Each attempt was in a race.
                continue

    fences = at_once(site.nodes[0], take_over)
    assert len(set(fences)) == len(fences)
    assert state_of(site.take_over(site.nodes[1])) == b"state"


def test_what_moved_between_two_reads_is_found(site: Site) -> None:
    site.save_in_old(1, b"state")
    reading = Running(site.nodes[0]._steps.load(KEY))
    # The probe of both storages, and what the old one holds.
    reading.advance(4)
    site.take_over(site.nodes[1])
    assert Snapshot.from_bytes(reading.finish()).state == b"state"


def test_what_moved_back_between_two_reads_is_found(site: Site) -> None:
    site.new.save_fenced(KEY, site.data(1, b"state"), TTL)
    reading = Running(site.nodes[0]._steps.load(KEY))
    reading.advance(4)
    site.take_over(MigratingStorage(site.old, site.new, clock=site.clock))
    assert Snapshot.from_bytes(reading.finish()).state == b"state"


def test_the_newer_of_two_snapshots_counts(site: Site) -> None:
    site.new.save_fenced(KEY, site.data(10, b"older", binding=STRANGER), TTL)
    site.save_in_old(20, b"newer")
    assert state_of(site.take_over(site.nodes[0])) == b"newer"
    site.old.save(KEY, site.data(20, b"of a connection that slept"), TTL)
    assert state_of(site.take_over(site.nodes[1], now=60)) == b"newer"


# Processes that know the old storage only.


def test_processes_with_the_old_storage_ask_the_client_to_come_back(site: Site) -> None:
    old = make_manager(storage=site.old, clock=site.clock)
    new = make_manager(storage=site.nodes[0], clock=site.clock)
    token = old.create_token("socket")
    old.save(token, {"n": 1})
    site.clock.advance(seconds=1)
    taken = new.take_over(token)
    new.save(taken.token, {"n": 2})
    for shown in (token, taken.token):
        with pytest.raises(VersionMismatch):
            old.take_over(shown, newest_version=0)
        with pytest.raises(TokenSuperseded):
            old.save(shown, {"n": 0})
    assert new.take_over(taken.token).state == {"n": 2}


def test_they_do_so_from_the_first_save_on(site: Site) -> None:
    old = make_manager(storage=site.old, clock=site.clock)
    new = make_manager(storage=site.nodes[0], clock=site.clock)
    token = new.create_token("socket")
    new.save(token, {"n": 1})
    with pytest.raises(VersionMismatch):
        old.take_over(token, newest_version=0)


@pytest.mark.parametrize("by", ["save", "touch", "takeover"])
def test_they_do_so_for_pages_that_began_in_the_new_storage(site: Site, by: str) -> None:
    old = make_manager(storage=site.old, clock=site.clock)
    new = make_manager(storage=site.nodes[0], clock=site.clock)
    token = new.create_token("socket")
    new.save(token, {"n": 1})
    # It lasts as long as the page does.
    for _ in range(8):
        site.clock.advance(seconds=new.ttl / 4)
        if by == "takeover":
            token = new.take_over(token).token
        new.touch(token)
        if by == "save":
            new.save(token, {"n": 2})
    with pytest.raises(VersionMismatch):
        old.take_over(token, newest_version=0)


def test_they_do_so_after_a_login(site: Site) -> None:
    old = make_manager(storage=site.old, clock=site.clock)
    new = make_manager(storage=site.nodes[0], clock=site.clock)
    token = new.create_token("socket")
    new.save(token, {"n": 1})
    grant = new.operations.verify(token, b"")
    renewed = new.driver.run(new.operations.renew(grant, b"ann"))
    with pytest.raises(VersionMismatch):
        old.take_over(renewed.token, binding=b"ann", newest_version=0)


# Revocations.


def test_a_revocation_is_in_both_storages(site: Site) -> None:
    for key, storage in ((KEY, site.old), (OTHER_KEY, site.new)):
        storage.save_fenced(key, site.data(1, b"state"), TTL)
        now_us = site.token(60)
        assert site.nodes[0].revoke(key, claim_of(site.token(1)), TTL, now_us=now_us) is (
            Verdict.DONE
        )
        for each in (site.old, site.new):
            assert is_marker(each.load(key) or b"")
            late = each.save_fenced(key, site.data(1, b"late"), TTL)
            assert late is Verdict.REVOKED


def test_a_page_learns_of_a_revocation_in_the_old_storage(site: Site) -> None:
    site.save_in_old(1, b"state")
    site.take_over(site.nodes[0])
    claim = claim_of(site.token(50))
    site.old.revoke(KEY, claim, TTL, now_us=site.token(60))
    assert site.take_over(site.nodes[1], 50).verdict is Verdict.NOT_FOUND
    assert site.nodes[0].touch_fenced(KEY, claim, TTL) is Verdict.REVOKED
    assert site.nodes[0].save_fenced(KEY, site.data(50, b"late"), TTL) is Verdict.REVOKED


@pytest.mark.parametrize("revokes_in_old", [True, False])
def test_the_revocation_of_a_person_counts_everywhere(site: Site, revokes_in_old: bool) -> None:
    old = make_manager(storage=site.old, clock=site.clock)
    new = make_manager(storage=site.nodes[0], clock=site.clock)
    (old if revokes_in_old else new).revoke_user(1)
    (digest,) = new.operations.digests_of_user(1)
    key = f"person:{digest.hex()}"
    marker = old.storage.load(key)
    assert marker is not None
    assert is_marker(marker)
    assert new.storage.load(key) == marker
    # Once it was looked at, it stays when the old storage goes, and for as long.
    assert site.new.load(key) == marker
    site.clock.advance(seconds=86_399)
    assert site.new.load(key) == marker
    site.clock.advance(seconds=1)
    assert site.new.load(key) is None


# Outages.


class Failing(MemoryStorage):
    """A storage that can be down."""

    is_down = False
    failures = 0

    def load(self, key: str) -> bytes | None:
        self._fail("load")
        return super().load(key)

    def look_up(self, key: str) -> Entry | None:
        self._fail("look_up")
        return super().look_up(key)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._fail("save")
        super().save(key, data, ttl)

    def _fail(self, operation: str) -> None:
        if self.is_down:
            self.failures += 1
            raise StorageUnavailable("Failing", operation)


class Pair:
    """A process whose storages can be down."""

    def __init__(self, retries_after: int = 0) -> None:
        self.retries_after = retries_after
        self.clock = FakeClock()
        self.new, self.old = Failing(clock=self.clock), Failing(clock=self.clock)
        self.storage = MigratingStorage(self.new, self.old, clock=self.clock)
        self.manager = make_manager(storage=self.storage, clock=self.clock)


@pytest.fixture(params=[0, 3600])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Return them with the old storage asked again at once, or not for long."""
    monkeypatch.setattr("recovery_app.storages.migrating.finding.RETRY_SECONDS", request.param)
    return Pair(request.param)


def test_while_the_old_storage_is_down_its_snapshots_are_unavailable(pair: Pair) -> None:
    before = make_manager(storage=pair.old, clock=pair.clock)
    token = before.create_token("socket")
    before.save(token, {"n": 1})
    pair.old.is_down = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            pair.manager.take_over(token)
    with pytest.raises(StorageUnavailable):
        pair.manager.recover(token)
    with pytest.raises(StorageUnavailable):
        pair.manager.inspect(hash_socket_id("socket").hex())
    pair.old.is_down = False
    assert pair.manager.take_over(token).state == {"n": 1}


def test_what_is_in_the_new_storage_is_served_without_the_old_one(pair: Pair) -> None:
    manager = pair.manager
    token = manager.create_token("socket")
    manager.save(token, {"n": 1})
    pair.old.is_down = True
    token = manager.take_over(token).token
    manager.save(token, {"n": 2})
    manager.touch(token)
    another = make_manager(
        storage=MigratingStorage(pair.new, pair.old, clock=pair.clock), clock=pair.clock
    )
    assert another.take_over(token).state == {"n": 2}
    inspection = another.inspect(hash_socket_id("socket").hex())
    assert inspection is not None
    assert inspection.state == {"n": 2}
    # Pages begin too.
    begun = another.create_token("another socket")
    another.save(begun, {"n": 3})
    assert another.take_over(begun).state == {"n": 3}
    with pytest.raises(StorageUnavailable):
        another.revoke(begun)


def test_a_save_of_a_superseded_token_during_an_outage_counts_no_longer(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    monkeypatch.setattr("recovery_app.storages.migrating.finding.RETRY_SECONDS", 0)
    pair = Pair()
    pair.old.save_fenced(KEY, site.data(20, b"newer"), TTL)
    pair.old.is_down = True
    assert pair.storage.save_fenced(KEY, site.data(10, b"older"), TTL) is Verdict.DONE
    pair.old.is_down = False
    assert state_of(site.take_over(pair.storage, 20)) == b"newer"


def test_an_outage_of_the_old_storage_delays_few_saves(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    pair.old.is_down = True
    for number in range(5):
        key = f"{number:016x}"
        assert pair.storage.save_fenced(key, snapshot_bytes(1), TTL) is Verdict.DONE
        pair.storage.touch_fenced(key, claim_of(1), TTL)
    assert (pair.old.failures == 1) is bool(pair.retries_after)
    (record,) = caplog.records
    assert record.getMessage().endswith("unavailable: Failing is unavailable (during load).")


def test_the_health_check_tells_of_either_storage(pair: Pair) -> None:
    assert asyncio.run(acheck_storage(pair.manager)).is_good
    for storage in (pair.old, pair.new):
        storage.is_down = True
        assert "Failing is unavailable" in asyncio.run(acheck_storage(pair.manager)).problem
        storage.is_down = False


def test_nothing_is_hidden_when_the_new_storage_is_down(pair: Pair) -> None:
    token = pair.manager.create_token("socket")
    pair.manager.save(token, {"n": 1})
    pair.new.is_down = True
    with pytest.raises(StorageUnavailable):
        pair.manager.take_over(token)
    with pytest.raises(StorageUnavailable):
        pair.manager.save(token, {"n": 2})


@pytest.mark.parametrize("calls", range(MOST_CALLS))
def test_an_outage_in_the_midst_of_a_move_loses_nothing(site: Site, calls: int) -> None:
    site.old = Failing(clock=site.clock)
    for node in site.nodes:
        node.old = node._steps.old = site.old
    site.save_in_old(1, b"state")
    move = Running(site.taking_over(0))
    move.advance(calls)
    site.old.is_down = True
    try:
        assert state_of(move.finish()) == b"state"
    except StorageUnavailable:
        site.old.is_down = False
        assert state_of(site.take_over(site.nodes[1], now=60)) == b"state"


# Lists.


def test_each_snapshot_is_listed_once(site: Site) -> None:
    node = site.nodes[0]
    for number in range(9):
        site.old.save_fenced(f"{number:016x}", site.data(1, b"state"), TTL)
    for number in range(4):
        claim = claim_of(site.token(1))
        node.take_over(f"{number:016x}", claim, TTL, now_us=site.token(9), newest_version=0)
    # One is on its way.
    moving = Running(node._steps.bring(f"{5:016x}", TTL, site.token(9)))
    while not read_held(site.old.load(f"{5:016x}")).is_moved:
        moving.advance()
    # One that has moved was saved once more by a process that slept.
    site.old.save(f"{2:016x}", site.data(1, b"asleep"), TTL)
    keys = [f"{number:016x}" for number in range(9)]
    manager = make_manager(storage=node, clock=site.clock)
    for limit in (2, 3, 100):
        found, cursor = [], None
        while True:
            page = manager.snapshots(cursor=cursor, limit=limit)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert sorted(info.socket_hash for info in found) == keys
        assert [info.socket_hash for info in found[:4]] == keys[:4]
        assert {info.version for info in found} == {0}
    assert manager.count() == 9
    sample = node.sample()
    assert (len(sample.items), sample.total) == (9, 9)
    assert node.remaining() == asyncio.run(node.aremaining())
    assert node.remaining().count == 5
    assert node.remaining().expires_in_seconds == TTL
    assert node.estimate_count() in (9, 10)


def test_two_names_for_one_place_are_noticed(site: Site) -> None:
    storage = MigratingStorage(site.new, _Alias(site.new), clock=site.clock)
    site.new.save_fenced(KEY, site.data(1, b"state"), TTL)
    with pytest.raises(StorageError, match="are the same: nothing was changed"):
        site.take_over(storage)
    assert site.new.load(KEY) == site.data(1, b"state")
    assert [entry.key for entry in site.new.list_entries().entries] == [KEY]


class _Alias(MemoryStorage):
    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__()
        self.__dict__ = storage.__dict__


def test_moving_back(site: Site) -> None:
    site.save_in_old(1, b"state")
    site.take_over(site.nodes[0])
    site.nodes[0].save_fenced(KEY, site.data(50, b"newer"), TTL)
    back = MigratingStorage(site.old, site.new, clock=site.clock)
    taken = site.take_over(back, 50, now=60)
    assert state_of(taken) == b"newer"
    number = fence_of(taken) - site.start_us
    assert back.save_fenced(KEY, site.data(number, b"newest"), TTL) is Verdict.DONE
    assert Snapshot.from_bytes(site.old.load(KEY) or b"").state == b"newest"
    assert site.nodes[0].save_fenced(KEY, site.data(50, b"late"), TTL) is Verdict.FENCED


def test_tombstones_are_of_a_version_that_no_application_has() -> None:
    assert MOVED_VERSION == 2**32 - 1
    assert OWNER != STRANGER
    storage = MemoryStorage()
    with pytest.raises(ValueError, match="same storage"):
        MigratingStorage(storage, storage)
    with pytest.raises(ValueError, match="MigratingStorage"):
        MigratingStorage(MemoryStorage(), MigratingStorage(MemoryStorage(), MemoryStorage()))
