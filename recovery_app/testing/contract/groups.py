"""Contract tests of the logs of durable groups, where the storage has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from recovery_app.storages import Storage
from recovery_app.storages.messages import Messages, MessageWatch
from recovery_app.testing.contract.base import ContractBase
from recovery_app.testing.contract.races import THREADS, WAIT_SECONDS, at_once

GROUP, OTHER = "room:1", "größe {\U0001f600} " + "x" * 230
PUBLISHED_BY_EACH = 8
FOREIGN = ("", "~", "rubbish", "0", "1", "-1", "0-0", "1-1", "1700000000000-0", "9" * 40, "٣", "é~")
"""Positions in the logs of other storages, or in none."""


class GroupTests(ContractBase):
    """Messages are read in the order in which they were published, without a gap or with a word."""

    @pytest.fixture
    def logs(self, variant: Storage) -> Storage:
        """Return the storage, if it has logs; a test of one that doesn't is left out."""
        if not variant.supports_groups:
            for call in (
                lambda: variant.append_message(GROUP, b"{}", _nothing),
                lambda: variant.newest_position(GROUP),
                lambda: variant.read_messages(GROUP, "0", 1),
            ):
                with pytest.raises(NotImplementedError, match="durable groups"):
                    call()
            pytest.skip("This storage has no durable groups.")
        return variant

    def test_messages_are_read_in_order_from_any_place(self, logs: Storage) -> None:
        start = logs.newest_position(GROUP)
        assert logs.newest_position(GROUP) == start
        assert logs.read_messages(GROUP, start, 10) == Messages([])
        elsewhere = logs.newest_position(OTHER)
        sent = [b'{"type": "a"}', b"{}", b"\x00\xff{", "größe".encode(), b"x" * 100_000]
        for data in sent:
            logs.append_message(GROUP, data, _nothing)
        logs.append_message(OTHER, b"{}", _nothing)
        found = logs.read_messages(GROUP, start, 10)
        assert (data_in(found), found.is_complete) == (sent, True)
        assert logs.newest_position(GROUP) == found.items[-1][0]
        places = [start, *(place for place, _ in found.items)]
        assert len(set(places)) == len(places)
        for number, place in enumerate(places):
            for limit in (1, 2, 10):
                again = logs.read_messages(GROUP, place, limit)
                assert again == Messages(found.items[number : number + limit])
        assert data_in(logs.read_messages(OTHER, elsewhere, 10)) == [b"{}"]

    def test_a_message_is_published_once_it_can_be_read(self, logs: Storage) -> None:
        start = logs.newest_position(GROUP)
        calls = count()
        logs.append_message(GROUP, b"{}", lambda: _nothing(next(calls)))
        assert next(calls) == 1
        assert len(logs.read_messages(GROUP, start, 10).items) == 1

    def test_a_place_that_a_log_does_not_know_is_told(self, logs: Storage) -> None:
        for each in FOREIGN:
            found = logs.read_messages(GROUP, each, 10)
            assert not found.is_complete, each
        logs.newest_position(GROUP)
        logs.append_message(GROUP, b"{}", _nothing)
        for each in FOREIGN:
            found = logs.read_messages(GROUP, each, 10)
            assert not found.is_complete, each
            assert logs.changed_groups({GROUP: each}) == [GROUP]

    def test_what_has_changed_is_found(self, logs: Storage) -> None:
        places = {group: logs.newest_position(group) for group in (GROUP, OTHER, "third")}
        logs.append_message(OTHER, b"{}", _nothing)
        assert OTHER in logs.changed_groups(places)
        assert logs.changed_groups({}) == []

    def test_a_log_that_was_trimmed_is_told(self, logs: Storage, storage: Storage) -> None:
        start = logs.newest_position(GROUP)
        logs.append_message(GROUP, b"{}", _nothing)
        first = logs.newest_position(GROUP)
        if not self.overfill(storage, GROUP):
            pytest.skip("It takes too many messages.")
        for place in (start, first):
            found = logs.read_messages(GROUP, place, 10)
            assert not found.is_complete
            assert len(found.items) <= 10
        newest = logs.newest_position(GROUP)
        logs.append_message(GROUP, b"the next", _nothing)
        found = logs.read_messages(GROUP, newest, 10)
        assert (data_in(found), found.is_complete) == ([b"the next"], True)

    def test_readers_miss_nothing_of_many_publishers(self, storage: Storage) -> None:
        self._require_groups(storage)
        start = storage.newest_position(GROUP)
        total = (THREADS - 1) * PUBLISHED_BY_EACH

        def read_along() -> Iterator[bytes]:
            place = start
            for _ in range(total):
                while not (found := storage.read_messages(GROUP, place, 1)).items:
                    assert found.is_complete
                place, data = found.items[0]
                assert found.is_complete
                yield data

        def work(number: int) -> list[bytes]:
            if number == 0:
                return list(read_along())
            sent = [b"%d-%d" % (number, each) for each in range(PUBLISHED_BY_EACH)]
            for data in sent:
                storage.append_message(GROUP, data, _nothing)
            return sent

        seen, *sent = at_once(storage, work)
        assert sorted(seen) == sorted(data for each in sent for data in each)
        assert seen == data_in(storage.read_messages(GROUP, start, total))
        for each in sent:
            assert [data for data in seen if data in each] == each

    def test_who_waits_hears_of_messages(self, storage: Storage) -> None:
        self._require_groups(storage)
        asyncio.run(self._wait_for_messages(storage))

    async def _wait_for_messages(self, storage: Storage) -> None:
        watch = storage.watch_messages()
        try:
            for group in (GROUP, OTHER):
                watch.enter(group)
            await hear(storage, watch, GROUP, OTHER)
            for group in (OTHER, GROUP, OTHER):
                await storage.aappend_message(group, b"{}", _nothing)
                await hear(storage, watch, group)
            watch.leave(GROUP)
            await storage.aappend_message(GROUP, b"{}", _nothing)
            await storage.aappend_message(OTHER, b"{}", _nothing)
            assert await hear(storage, watch, OTHER) == {OTHER}
        finally:
            await watch.close()

    def _require_groups(self, storage: Storage) -> None:
        if not storage.supports_groups:
            pytest.skip("supports_groups is false")


async def hear(storage: Storage, watch: MessageWatch, *groups: str) -> set[str]:
    """Wait until something new was read of each of these groups; return all that were heard of."""
    heard: set[str] = set()
    waited_for = set(groups)
    while waited_for:
        for group in await asyncio.wait_for(watch.wait(), WAIT_SECONDS):
            heard.add(group)
            newest = await storage.anewest_position(group)
            if newest != watch.positions.get(group):
                waited_for.discard(group)
            watch.follow(group, newest)
    return heard


def data_in(messages: Messages) -> list[bytes]:
    """Return the bytes of messages."""
    return [data for _, data in messages.items]


def _nothing(*_: object) -> None:
    """Do nothing."""
