"""Contract tests of durable groups as operators see them, where the storage lists them."""

from __future__ import annotations

import pytest

from recovery_app.exceptions import StorageError
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import Clock, ContractBase
from recovery_app.values import GroupInfo

GROUP, OTHER = "room:1", "room:2"
MAX_PAGES = 1000
NAMES = [
    "room:1",
    "Room:1",
    "room:1 ",
    "100% sure",
    "100_",
    "\\one",
    "é",
    "e\u0301",
    "user@example.com",
    "@",
    "x@1.2",
    "*}{?[",
    "größe \U0001f600" + "x" * 240,
]
PREFIXES = {
    "room:1": {"room:1", "room:1 "},
    "Room": {"Room:1"},
    "100%": {"100% sure"},
    "100_": {"100_"},
    "\\": {"\\one"},
    "é": {"é"},
    "user@": {"user@example.com"},
    "*": {"*}{?["},
    "größe \U0001f600": {NAMES[-1]},
    "none": set(),
}


class GroupListingTests(ContractBase):
    """Operators see each group once, as long and as old as its log is, and can delete it."""

    @pytest.fixture
    def listed(self, storage: Storage) -> Storage:
        """Return the storage, if it lists groups; a test of one that doesn't is left out."""
        if storage.supports_group_listing:
            return storage
        for call in (
            lambda: storage.list_groups(prefix="", cursor=None, limit=1),
            lambda: storage.describe_group(GROUP),
            lambda: storage.last_messages(GROUP, 1),
            lambda: storage.count_behind(GROUP, "0"),
            lambda: storage.delete_group(GROUP),
        ):
            with pytest.raises(StorageError, match="durable groups"):
                call()
        pytest.skip("supports_group_listing is false")

    def test_pages_show_each_group_once(self, listed: Storage) -> None:
        for number, name in enumerate(NAMES):
            publish(listed, name, *[b"{}"] * (number % 3 + 1))
        for limit in (1, 3, 100):
            found = groups_in(listed, limit=limit)
            assert sorted(info.name for info in found) == sorted(NAMES)
            lengths = {info.name: info.length for info in found}
            assert lengths == {name: number % 3 + 1 for number, name in enumerate(NAMES)}
        for info in found:
            assert info == listed.describe_group(info.name)

    def test_a_prefix_selects_groups_by_name(self, listed: Storage) -> None:
        for name in NAMES:
            listed.newest_position(name)
        for prefix, names in PREFIXES.items():
            found = groups_in(listed, prefix=prefix)
            assert sorted(info.name for info in found) == sorted(names), prefix

    def test_a_cursor_stays_valid_when_its_group_is_deleted(self, listed: Storage) -> None:
        for name in NAMES:
            publish(listed, name, b"{}")
        page = listed.list_groups(prefix="", cursor=None, limit=4)
        shown = {info.name for info in page.items}
        for name in shown:
            assert listed.delete_group(name)
        rest = groups_in(listed, cursor=page.next_cursor) if page.next_cursor else []
        assert sorted(info.name for info in rest) == sorted(set(NAMES) - shown)

    def test_a_group_shows_what_its_log_has(self, listed: Storage) -> None:
        assert listed.describe_group(GROUP) is None
        assert listed.last_messages(GROUP, 3) == []
        assert groups_in(listed) == []
        start = listed.newest_position(GROUP)
        assert listed.describe_group(GROUP) == GroupInfo(name=GROUP, newest=start)
        assert listed.last_messages(GROUP, 3) == []
        sent = [b"%d" % number for number in range(5)]
        publish(listed, GROUP, *sent)
        publish(listed, OTHER, b"{}")
        found = listed.last_messages(GROUP, 10)
        assert [(each.position, each.data) for each in found[::-1]] == listed.read_messages(
            GROUP, start, 10
        ).items
        assert [each.data for each in found] == sent[::-1]
        assert listed.last_messages(GROUP, 2) == found[:2]
        times = [each.published_us for each in found]
        assert times == sorted(times, reverse=True)
        assert listed.describe_group(GROUP) == GroupInfo(
            name=GROUP,
            newest=found[0].position,
            length=len(sent),
            oldest_us=times[-1],
            newest_us=times[0],
        )

    def test_what_is_behind_a_place_is_counted(self, listed: Storage) -> None:
        assert listed.count_behind(GROUP, "1") is None
        assert listed.describe_group(GROUP) is None
        start = listed.newest_position(GROUP)
        assert listed.count_behind(GROUP, start) == 0
        publish(listed, GROUP, b"1", b"2", b"3")
        publish(listed, OTHER, b"{}")
        places = [place for place, _ in listed.read_messages(GROUP, start, 3).items]
        assert [listed.count_behind(GROUP, each) for each in (start, *places)] == [3, 2, 1, 0]
        assert listed.count_behind(GROUP, "rubbish") is None

    def test_a_deleted_group_is_gone_for_all(self, listed: Storage, clock: Clock) -> None:
        start = listed.newest_position(GROUP)
        publish(listed, GROUP, b"1", b"2")
        publish(listed, OTHER, b"{}")
        newest = listed.newest_position(GROUP)
        clock.advance(seconds=self.margin_seconds)
        assert listed.delete_group(GROUP) is True
        assert listed.delete_group(GROUP) is False
        assert listed.describe_group(GROUP) is None
        assert [info.name for info in groups_in(listed)] == [OTHER]
        for _ in range(2):
            for place in (start, newest):
                assert not listed.read_messages(GROUP, place, 10).is_complete
                assert listed.count_behind(GROUP, place) is None
            # And as little once there is another log of this name.
            publish(listed, GROUP, b"3", b"4")
        assert [each.data for each in listed.last_messages(GROUP, 10)] == [b"4", b"3"] * 2

    def test_a_trimmed_group_is_as_long_as_its_log(self, listed: Storage) -> None:
        start = listed.newest_position(GROUP)
        publish(listed, GROUP, b"first")
        if not self.overfill(listed, GROUP):
            pytest.skip("It takes too many messages.")
        info = listed.describe_group(GROUP)
        assert info is not None
        found = listed.last_messages(GROUP, 2 * info.length)
        assert info.length == len(found)
        assert info.oldest_us == found[-1].published_us
        assert b"first" not in [each.data for each in found]
        assert listed.count_behind(GROUP, start) is None
        assert listed.count_behind(GROUP, found[-1].position) == info.length - 1


def publish(storage: Storage, group: str, *messages: bytes) -> None:
    """Publish messages to a group."""
    for data in messages:
        storage.append_message(group, data, lambda: None)


def groups_in(
    storage: Storage, *, prefix: str = "", cursor: str | None = None, limit: int = 3
) -> list[GroupInfo]:
    """Return the groups of all pages, none of which is too long."""
    found: list[GroupInfo] = []
    for _ in range(MAX_PAGES):
        page = storage.list_groups(prefix=prefix, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError(f"The pages don't end: {[info.name for info in found[:100]]}")
