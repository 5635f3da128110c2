"""Listing, inspecting and deleting durable groups, for operators, in any storage that has logs.

All calls block, and do a bounded amount of work: a page of groups, the last messages of one.
"""

from __future__ import annotations

from recovery_app.exceptions import StorageError
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage

MAX_BEHIND = 1000
"""Up to how many messages behind a position are counted, where each has to be read for that."""


class GroupListing:
    """What a storage needs for the admin's page of its durable groups."""

    supports_group_listing: bool = False
    """Whether these methods work."""

    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        """Return a page of the groups whose names start with ``prefix``.

        A page with fewer groups than ``limit`` needn't be the last. Raise `ValueError` for a cursor
        of another storage.
        """
        raise self._no_listing()

    def describe_group(self, group: str) -> GroupInfo | None:
        """Return what is known of a group, or ``None`` if it has no log."""
        raise self._no_listing()

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        """Return the last messages of a group, the newest first."""
        raise self._no_listing()

    def count_behind(self, group: str, position: str) -> int | None:
        """Return how many messages come after a position, `MAX_BEHIND` for that many or more.

        ``None`` if the log has lost some of them.
        """
        raise self._no_listing()

    def delete_group(self, group: str) -> bool:
        """Remove a group's log; return whether there was one.

        ``missed_messages`` is then called for the pages in the group.
        """
        raise self._no_listing()

    def _no_listing(self) -> Exception:
        return StorageError(f"{type(self).__name__} can't list durable groups.")
