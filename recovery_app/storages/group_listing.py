"""What operators see and do of durable groups, in whatever storage keeps their logs.

All is blocking, and bounded: a page of groups, the last messages of one.
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

        One below ``limit`` needn't be the last. Raise `ValueError` for a cursor of another storage.
        """
        raise self._no_listing()

    def describe_group(self, group: str) -> GroupInfo | None:
        """Return what is known of a group, if it has a log."""
        raise self._no_listing()

    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        """Return the last messages of a group, the newest first."""
        raise self._no_listing()

    def count_behind(self, group: str, position: str) -> int | None:
        """Return how many messages are behind a position, `MAX_BEHIND` or more as that.

        ``None`` where the log has lost some of them.
        """
        raise self._no_listing()

    def delete_group(self, group: str) -> bool:
        """Remove a group's log; return whether there was one.

        Pages that are in the group find that they have missed messages.
        """
        raise self._no_listing()

    def _no_listing(self) -> Exception:
        return StorageError(f"{type(self).__name__} can't list durable groups.")
