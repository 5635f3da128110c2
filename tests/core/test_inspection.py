"""What somebody without a token can see and do: browse, sample, inspect, revoke by hash."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.clock import to_us
from recovery_app.exceptions import StorageError, TokenError, TokenSuperseded
from recovery_app.models import StoredSnapshot
from recovery_app.snapshots import HEAD_BYTES, Head, Snapshot
from recovery_app.storages import DatabaseStorage, MemoryStorage, Storage
from recovery_app.storages.database.columns import columns_of
from recovery_app.storages.database.queries import starting_with
from recovery_app.testing.contract.base import OWNER, snapshot_bytes
from recovery_app.values import Query, SnapshotInfo
from tests.clock import FakeClock
from tests.core.caches import LISTING
from tests.core.redis_storages import REDIS
from tests.core.support import (
    DATABASES,
    MEMORY,
    SOMEBODY,
    calls_of_async_variants,
    make_manager,
    now_us,
)

sorting = pytest.mark.parametrize("any_storage", [MEMORY, *DATABASES], indirect=True)
"""On the storages that sort, which also keep what has expired."""
listing = pytest.mark.parametrize(
    "any_storage", [MEMORY, *DATABASES, REDIS[0], REDIS[-1], LISTING[0]], indirect=True
)
"""On each kind of storage that lists what it holds."""
IDS = [f"{letter}-{number}" for letter in "ab" for number in range(4)]


def key_of(socket_id: str) -> str:
    return hash_socket_id(socket_id).hex()


def fill(manager: RecoveryManager) -> None:
    """Save eight snapshots of growing size, of two views."""
    for place, socket_id in enumerate(IDS):
        token = manager.create_token(socket_id, binding=OWNER)
        view = f"view {socket_id[-1]}"
        state = {"text": "x" * place}
        manager.save(token, state, binding=OWNER, view=view, topic="lv:x", version=place)


def ids_of(manager: RecoveryManager, limit: int = 3, **wanted: Any) -> list[str]:
    """Return the socket ids of all pages, none of which is too long."""
    found: list[str] = []
    cursor = None
    for _ in range(20):
        page = manager.browse(Query(cursor=cursor, limit=limit, **wanted))
        found += [info.socket_id for info in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("There is no end to the pages.")


# Pages


def test_pages_have_each_snapshot_once(everywhere: RecoveryManager) -> None:
    if not everywhere.storage.supports_listing:
        with pytest.raises(StorageError):
            everywhere.browse()
        with pytest.raises(StorageError):
            everywhere.sample()
        return
    fill(everywhere)
    everywhere.revoke_socket(key_of("a-1"))
    left = sorted(set(IDS) - {"a-1"})
    for limit in (1, 3, 7, 8, 100):
        assert sorted(ids_of(everywhere, limit)) == left
    assert sorted(ids_of(everywhere, prefix="b-")) == IDS[4:]
    assert ids_of(everywhere, prefix="B-") == []
    assert sorted(ids_of(everywhere, view="view 2")) == ["a-2", "b-2"]
    assert ids_of(everywhere, view="View 2", prefix="a") == []
    assert ids_of(everywhere, view="view 3", prefix="a") == ["a-3"]


@listing
def test_a_page_tells_what_a_listing_tells(everywhere: RecoveryManager) -> None:
    fill(everywhere)
    told = {info.socket_id: info for info in everywhere.snapshots().items}
    for info in (*everywhere.browse().items, *everywhere.sample().items):
        listed = told[info.socket_id]
        assert facts_of(info) == facts_of(listed)
        assert info.expires_in_seconds == pytest.approx(listed.expires_in_seconds, abs=5)


def facts_of(info: SnapshotInfo) -> tuple[object, ...]:
    return (info.socket_hash, info.view, info.topic, info.version, info.size_bytes, info.saved_at)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("socket_id", IDS),
        ("-socket_id", IDS[::-1]),
        ("size_bytes", IDS),
        ("-version", IDS[::-1]),
        ("view", ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2", "a-3", "b-3"]),
    ],
)
@sorting
def test_pages_are_sorted_where_the_storage_can(
    everywhere: RecoveryManager, order: str, expected: list[str]
) -> None:
    fill(everywhere)
    for limit in (1, 3, 8):
        found = ids_of(everywhere, limit, order=order)
        if order == "view":
            # Of one view the keys decide.
            assert [each[-1] for each in found] == [each[-1] for each in expected]
            assert sorted(found) == IDS
        else:
            assert found == expected


@sorting
def test_time_sorts_too_and_goes_by_while_one_looks(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    for socket_id in IDS:
        token = everywhere.create_token(socket_id)
        everywhere.save(token, {})
        clock.advance(seconds=1.5)
    for order in ("saved_at", "expires_in_seconds"):
        page = everywhere.browse(Query(order=f"-{order}", limit=5))
        assert [info.socket_id for info in page.items] == IDS[:2:-1]
        clock.advance(seconds=1.25)
        rest = everywhere.browse(Query(order=f"-{order}", limit=5, cursor=page.next_cursor))
        assert [info.socket_id for info in rest.items] == IDS[2::-1]


@sorting
def test_what_has_expired_is_shown_where_it_is_kept(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    fill(everywhere)
    clock.advance(seconds=everywhere.ttl + 1)
    everywhere.save(everywhere.create_token("fresh"), {})
    assert ids_of(everywhere) == ["fresh"]
    assert sorted(ids_of(everywhere, expired=True)) == IDS
    assert sorted(ids_of(everywhere, expired=True, order="-size_bytes")) == IDS
    sample = everywhere.sample()
    assert (sample.total, sample.expired, sample.is_exact) == (1, 8, True)
    found = everywhere.inspect(key_of("a-0"))
    assert found is not None
    assert found.info.expires_in_seconds == pytest.approx(-1)
    assert found.state == {"text": ""}
    everywhere.cleanup_expired()
    assert ids_of(everywhere, expired=True) == []


@sorting
def test_a_cursor_that_was_never_given_out_is_a_value_error(everywhere: RecoveryManager) -> None:
    fill(everywhere)
    given = everywhere.browse(Query(order="size_bytes", limit=2)).next_cursor
    for order, cursor in (
        ("", "rubbish"),
        ("", "[1]"),
        ("", "[null, 1]"),
        ("socket_id", json.dumps([None, "a"])),
        ("", given),
        ("", "[" * 100_000),
        ("size_bytes", '[1e400, "a"]'),
        ("size_bytes", '[-1e400, "a"]'),
        ("size_bytes", '[{}, "a"]'),
        ("nonsense", None),
    ):
        with pytest.raises(ValueError, match=r"cursor|sorted|Expecting"):
            everywhere.browse(Query(order=order, cursor=cursor))


@pytest.mark.parametrize("wanted", [{"prefix": "\x00"}, {"view": "x" * 256}, {"limit": 0}])
def test_what_cant_be_asked_is_a_value_error(
    manager: RecoveryManager, wanted: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must"):
        manager.browse(Query(**wanted))


class Shelf(MemoryStorage):
    """A storage that knows only how to list: the rest is the base class's."""

    browse = Storage.browse
    sample = Storage.sample
    look_up = Storage.look_up


def test_a_storage_of_ones_own_needs_a_listing_alone(clock: FakeClock) -> None:
    manager = make_manager(storage=Shelf(clock=clock), clock=clock)
    fill(manager)
    assert sorted(ids_of(manager)) == IDS
    assert sorted(ids_of(manager, limit=2, prefix="b-")) == IDS[4:]
    sample = manager.sample(3)
    assert (len(sample.items), sample.total) == (3, 8)
    found = manager.inspect(key_of("a-3"))
    assert found is not None
    assert found.state == {"text": "xxx"}
    assert math.isnan(found.info.expires_in_seconds)


def test_a_search_has_an_end(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_app.storages.base.MAX_LOOKED_AT", 4)
    manager = make_manager(storage=Shelf(clock=clock), clock=clock)
    fill(manager)
    page = manager.browse(Query(prefix="nobody", limit=2))
    assert (page.items, page.looked_at, page.next_cursor is None) == ([], 4, False)


# Estimates


def put_rows(names: list[str], now: int, *, ttl: float) -> None:
    """Put rows into the table at once, as saves would one by one."""
    StoredSnapshot.objects.bulk_create(
        StoredSnapshot(key=name, expires_us=now + to_us(ttl), **columns_of(snapshot_bytes(1)))
        for name in names
    )


@pytest.mark.django_db
def test_a_large_table_is_counted_by_an_estimate(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    hashes = [key_of(str(number)) for number in range(4000)]
    put_rows(hashes[:3000], now_us(clock), ttl=60)
    put_rows(hashes[3000:], now_us(clock), ttl=-60)
    sample = storage.sample(500)
    assert not sample.is_exact
    assert sample.total == pytest.approx(3000, rel=0.15)
    assert sample.expired == pytest.approx(1000, rel=0.25)
    assert len(sample.items) == pytest.approx(375, abs=50)
    with CaptureQueriesContext(connection) as asked:
        storage.sample(500)
    (query,) = asked
    assert "data" not in query["sql"]
    assert "LIMIT 501" in query["sql"]


def plan_of(sql: str) -> str:
    """Return how SQLite goes about a query."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return " ".join(row[-1] for row in cursor.fetchall())


@pytest.mark.django_db
def test_a_few_live_ones_among_many_expired_are_found(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    hashes = sorted(key_of(str(number)) for number in range(2000))
    put_rows(hashes[:1980], now_us(clock), ttl=-60)
    put_rows(hashes[1980:], now_us(clock), ttl=60)
    sample = storage.sample(500)
    assert (sample.total, len(sample.items), sample.is_exact) == (20, 20, False)
    assert sample.expired == pytest.approx(2000, rel=0.15)
    page = storage.browse(Query(limit=15))
    more = storage.browse(Query(limit=15, cursor=page.next_cursor))
    assert [info.socket_hash for info in (*page.items, *more.items)] == hashes[1980:]
    with CaptureQueriesContext(connection) as asked:
        storage.browse(Query(limit=15))
    # By the index on the expiry, and then by the keys that this gave.
    plans = [plan_of(query["sql"]) for query in asked]
    assert ["expires" in plans[0], "key" in plans[1]] == [True, True]
    assert "SCAN" not in "".join(plans)
    # Too many to be all shown, and too few to be met among the first.
    assert len(storage.sample(10).items) == 0


def test_a_search_by_how_ids_start_uses_the_index(database_alias: str, clock: FakeClock) -> None:
    """Hold it to SQLite's plan; the others have LIKE use theirs once a table is large."""
    storage = DatabaseStorage(database=database_alias, clock=clock)
    for name in ("a", "ab", "a\U0010ffff", "a\U0010ffffb", "a%", "aé", "A", "Ab", "b", "á"):
        data = snapshot_bytes(1, socket_id=name)
        storage.save(key_of(name), data, 60)
    wanted = {"a", "ab", "a\U0010ffff", "a\U0010ffffb", "a%", "aé"}
    assert {info.socket_id for info in storage.browse(Query(prefix="a")).items} == wanted
    assert len(storage.list_entries(prefix="a").entries) == len(wanted)
    if connections[database_alias].vendor == "sqlite":
        plan = starting_with(storage._rows, "a").explain()
        assert "SEARCH" in plan
        assert "socket_id>?" in plan


@pytest.mark.django_db
def test_keys_that_are_no_hashes_are_counted_one_by_one(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    put_rows([f"key {number}" for number in range(20)], now_us(clock), ttl=60)
    put_rows(["expired 1", "expired 2"], now_us(clock), ttl=-60)
    sample = storage.sample(5)
    assert (sample.total, sample.expired, sample.is_exact) == (20, 2, True)


@pytest.mark.parametrize("any_storage", LISTING, indirect=True)
def test_a_cache_is_counted_and_searched_in_bounds(
    any_storage: Storage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery_app.storages.cache.storage.MAX_LOOKED_AT", 3)
    manager = make_manager(storage=any_storage, clock=clock)
    fill(manager)
    manager.touch(manager.create_token("a-0", binding=OWNER), binding=OWNER)
    sample = manager.sample(4)
    assert (len(sample.items), sample.total, sample.is_exact) == (4, 8, False)
    page = manager.browse(Query(prefix="nobody", limit=2))
    assert (page.items, page.looked_at, page.next_cursor is None) == ([], 3, False)
    assert sorted(ids_of(manager, limit=2, prefix="b-")) == IDS[4:]


# One socket


def test_a_socket_is_inspected_by_its_hash(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token("mine", binding=OWNER)
    everywhere.save(
        token, {"count": 1}, binding=OWNER, applied_seq=7, version=2, view="v", topic="t"
    )
    found = everywhere.inspect(key_of("mine"))
    assert found is not None
    info = found.info
    assert (info.socket_id, info.view, info.topic, info.version) == ("mine", "v", "t", 2)
    assert (info.applied_seq, info.serializer, info.problem) == (7, "json", "")
    assert found.state == {"count": 1}
    assert found.stored_bytes > info.size_bytes > 0
    assert found.fence == found.floor > 0
    assert not found.is_revoked
    left = info.expires_in_seconds
    assert math.isnan(left) or left == pytest.approx(everywhere.ttl, abs=5)
    assert everywhere.inspect(key_of("nobody's")) is None


def test_to_look_changes_nothing(clock: FakeClock) -> None:
    storage = MemoryStorage(max_entries=2, clock=clock)
    manager = make_manager(storage=storage, clock=clock)
    for socket_id in ("first", "second"):
        manager.save(manager.create_token(socket_id), {})
    manager.inspect(key_of("first"))
    manager.save(manager.create_token("third"), {})
    assert sorted(ids_of(manager)) == ["second", "third"]


def test_what_cant_be_read_is_inspected_with_its_problem(everywhere: RecoveryManager) -> None:
    newer = bytearray(snapshot_bytes(5))
    newer[2] = 9
    broken = {
        "00000000000000a1": b"rubbish",
        "00000000000000a2": bytes(newer),
        "00000000000000a3": snapshot_bytes(5, b"no JSON"),
        "00000000000000a4": snapshot_bytes(5)[:70],
    }
    for key, data in broken.items():
        everywhere.storage.save(key, data, 60)
        found = everywhere.inspect(key)
        assert found is not None
        assert found.state is None
        assert found.info.problem
        assert found.stored_bytes == len(data)
    if everywhere.storage.supports_listing:
        page = everywhere.browse()
        problems = {info.socket_hash: info.problem for info in page.items}
        assert set(problems) == set(broken)
        # A list doesn't read states.
        assert {key for key, problem in problems.items() if not problem} == {"00000000000000a3"}
    for key in broken:
        assert everywhere.revoke_socket(key)
        assert not everywhere.revoke_socket(key)


def test_a_socket_is_revoked_by_its_hash(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token("mine", binding=OWNER)
    everywhere.save(token, {"count": 1}, binding=OWNER)
    newer = everywhere.take_over(token, binding=OWNER).token
    assert everywhere.revoke_socket(key_of("mine"))
    for old in (token, newer):
        with pytest.raises(TokenSuperseded):
            everywhere.save(old, {"count": 2}, binding=OWNER)
        with pytest.raises(TokenError):
            everywhere.touch(old, binding=SOMEBODY)
    found = everywhere.inspect(key_of("mine"))
    assert found is not None
    assert (found.is_revoked, found.state, found.info.problem) == (True, None, "")
    assert not everywhere.revoke_socket(key_of("mine"))
    assert not everywhere.revoke_socket(key_of("nobody's"))


@sorting
def test_a_socket_that_expired_can_be_kept_from_coming_back(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    token = everywhere.create_token("mine")
    everywhere.save(token, {"count": 1})
    clock.advance(seconds=everywhere.ttl + 1)
    assert everywhere.revoke_socket(key_of("mine"))
    with pytest.raises(TokenSuperseded):
        everywhere.save(token, {"count": 2})


class Restless(MemoryStorage):
    """A storage whose snapshot is bound to another session whenever somebody has looked."""

    turns = 0

    def look_up(self, key: str) -> Any:
        entry = super().look_up(key)
        if self.turns:
            self.turns -= 1
            self.save(key, snapshot_bytes(5, binding=str(self.turns).encode()), 60)
        return entry


@pytest.mark.parametrize("calls", [lambda manager: manager, calls_of_async_variants])
def test_a_login_in_between_doesnt_keep_it_from_being_revoked(clock: FakeClock, calls: Any) -> None:
    storage = Restless(clock=clock)
    manager = calls(make_manager(storage=storage, clock=clock))
    for turns, expected in ((2, True), (50, None)):
        storage.save("00000000000000aa", snapshot_bytes(5), 60)
        storage.turns = turns
        if expected:
            assert manager.revoke_socket("00000000000000aa")
        else:
            with pytest.raises(StorageError, match="race"):
                manager.revoke_socket("00000000000000aa")


# Heads


def test_the_longest_names_fit_into_a_head() -> None:
    data = snapshot_bytes(1, b"s" * 10_000, socket_id="😀" * 255)
    snapshot = Snapshot.from_bytes(data)
    longest = Snapshot(
        header=snapshot.header,
        socket_id="😀" * 255,
        view="😀" * 255,
        topic="😀" * 255,
        serializer="a.module." * 20,
        state=b"s" * 10_000,
        replies=b"r" * 10_000,
    ).to_bytes()
    head = Head.read(longest[:HEAD_BYTES], len(longest))
    assert (head.view, head.state_bytes) == ("😀" * 255, 10_000)
