"""What the model must catch of what the server sends: one rule broken at a time."""

from __future__ import annotations

from typing import Any

from recovery_app._live.group_reader import GroupReader
from recovery_app._live.groups import TopicGroups
from recovery_app._live.pushes import PushLog
from recovery_app.storages.messages import Messages
from tests.model.mutants import Patch


def forget_the_places_in_groups(patch: Any) -> None:
    pack = TopicGroups.pack
    first: dict[TopicGroups, bytes] = {}

    def stale(self: TopicGroups) -> bytes:
        packed = pack(self)
        return first.setdefault(self, packed) if packed else b""

    patch.setattr(TopicGroups, "pack", stale)


def begin_at_the_end_of_the_log(patch: Any) -> None:
    read = TopicGroups.read
    begun: set[TopicGroups] = set()

    async def skip(self: TopicGroups, group: str) -> Messages | None:
        if self not in begun:
            begun.add(self)
            newest = await self.newest(group)
            if newest is not None:
                self.move(group, newest)
        return await read(self, group)

    patch.setattr(TopicGroups, "read", skip)


def say_nothing_of_what_is_gone(patch: Any) -> None:
    read = GroupReader.read

    async def quietly(self: GroupReader, group: str, after: str, limit: int) -> Messages:
        found = await read(self, group, after, limit)
        return found._replace(is_complete=True)

    patch.setattr(GroupReader, "read", quietly)


def go_back_in_the_group_after_a_failure(patch: Any) -> None:
    discard = TopicGroups.discard

    def too_far(self: TopicGroups) -> None:
        discard(self)
        self._committed = dict(self._stored)
        self._positions = dict(self._stored)

    patch.setattr(TopicGroups, "discard", too_far)


def keep_no_pushes(patch: Any) -> None:
    pack = PushLog.pack
    patch.setattr(PushLog, "pack", lambda self: pack(self)[:8])


def push_before_it_is_safe(patch: Any) -> None:
    release = PushLog.release

    async def early(self: PushLog, *, has_snapshot: bool) -> None:
        self._safe = self._newest
        await release(self, has_snapshot=has_snapshot)

    patch.setattr(PushLog, "release", early)


def push_what_a_failing_handler_wanted(patch: Any) -> None:
    patch.setattr(PushLog, "discard", lambda self: None)


def send_nothing_again(patch: Any) -> None:
    restore = PushLog.restore

    def all_sent(self: PushLog, stored: bytes) -> None:
        restore(self, stored)
        self._sent = self._newest

    patch.setattr(PushLog, "restore", all_sent)


def number_pushes_anew_after_a_recovery(patch: Any) -> None:
    patch.setattr(PushLog, "restore", lambda self, stored: self.reset())


def drop_a_push_that_the_page_lacks(patch: Any) -> None:
    acknowledge = PushLog._acknowledge
    patch.setattr(PushLog, "_acknowledge", lambda self, number: acknowledge(self, number + 1))


SERVER: tuple[Patch, ...] = (
    forget_the_places_in_groups,
    begin_at_the_end_of_the_log,
    say_nothing_of_what_is_gone,
    go_back_in_the_group_after_a_failure,
    keep_no_pushes,
    push_before_it_is_safe,
    push_what_a_failing_handler_wanted,
    send_nothing_again,
    number_pushes_anew_after_a_recovery,
    drop_a_push_that_the_page_lacks,
)
