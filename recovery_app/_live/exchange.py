"""The pushes and the positions in groups that belong to a topic's state.

Both change with a handler that succeeds, are rolled back with one that fails, and are stored in
one step with the state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from recovery_app._live.groups import TopicGroups
from recovery_app._live.pushes import PushLog
from recovery_app._live.sections import GROUPS, PUSHES, pack_section, take_section

NOT_JOINED = (
    "No topic is joined here. Call this in the hooks and handlers of a joined topic, such as "
    "mount() or handle_event(), not in connect() or disconnect()."
)


class Exchange:
    """The numbered pushes of a topic and its durable groups; either is ``None`` if unused."""

    __slots__ = ("_admitted", "_is_open", "_make_groups", "groups", "pushes")

    def __init__(self, make_groups: Callable[[], TopicGroups] | None = None) -> None:
        self.pushes: PushLog | None = None
        self.groups: TopicGroups | None = None
        self._make_groups = make_groups
        self._admitted: dict[str, str] | None = None
        """Which groups hooks had joined when a state was taken over, if one was."""
        self._is_open = False

    def use_groups(self) -> TopicGroups:
        """Return the groups, which are created for the first one."""
        if self.groups is None:
            if self._make_groups is None:
                raise RuntimeError(NOT_JOINED)
            self.groups = self._make_groups()
            if self._is_open:
                self.groups.open()
        return self.groups

    # A handler.

    def begin(self) -> None:
        """Note that a handler starts."""
        if self.pushes is not None:
            self.pushes.begin()

    def commit(self) -> None:
        """Make the handler's pushes and groups part of the state."""
        if self.pushes is not None:
            self.pushes.commit()
        if self.groups is not None:
            self.groups.commit()

    def discard(self) -> None:
        """Undo the pushes and groups of a failed handler."""
        if self.pushes is not None:
            self.pushes.discard()
        if self.groups is not None:
            self.groups.discard()

    def end(self) -> None:
        """Note that the handler has ended."""
        if self.pushes is not None:
            self.pushes.end()

    # The state.

    @property
    def is_safe(self) -> bool:
        """Whether everything that belongs to the state is stored."""
        are_pushes_safe = self.pushes is None or self.pushes.is_safe
        return are_pushes_safe and (self.groups is None or self.groups.is_safe)

    def restore(self, stored: bytes, *, is_copy: bool = False) -> bytes:
        """Continue with those of a state that was taken over; return the replies after them."""
        groups, rest = take_section(GROUPS, stored)
        pushes, replies = take_section(PUSHES, rest)
        self._admitted = {} if self.groups is None else self.groups.joined
        if groups:
            self.use_groups().restore(groups)
        if self.pushes is not None and is_copy:
            self.pushes.note_copied(pushes)
        elif self.pushes is not None:
            self.pushes.restore(pushes)
        return replies

    def reset(self) -> None:
        """Start again, without what was taken over and what its hooks have done."""
        if self.groups is not None and self._admitted is not None:
            self.groups.reset(self._admitted)
        if self.pushes is not None:
            self.pushes.reset()

    def pack(self, replies: bytes) -> bytes:
        """Return everything as bytes to store, followed by the replies to events."""
        if self.pushes is None and self.groups is None:
            return replies
        groups = b"" if self.groups is None else pack_section(GROUPS, self.groups.pack())
        pushes = b"" if self.pushes is None else pack_section(PUSHES, self.pushes.pack())
        return groups + pushes + replies

    def note_saved(self) -> None:
        """Note that what was packed last is stored."""
        if self.pushes is not None:
            self.pushes.note_saved()
        if self.groups is not None:
            self.groups.note_saved()

    # The join.

    def open(self, *, has_snapshot: bool) -> Awaitable[None] | None:
        """Start to push and to listen, after the reply to the join; return what to await."""
        self._is_open = True
        if self.groups is not None:
            self.groups.open()
        if self.pushes is None:
            return None
        self.pushes.open(has_snapshot=has_snapshot)
        return self.pushes.release(has_snapshot=has_snapshot)

    def close(self) -> None:
        """Stop listening, and drop the references to the topic."""
        if self.groups is not None:
            self.groups.close()
        self.pushes = self.groups = self._make_groups = None
