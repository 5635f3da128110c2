"""Whose a snapshot is: the user behind a digest where one may be named, and searches by person.

Snapshots have a keyed digest of the person, so a user is found by computing the digests of some
users. Names are personal data: only who may view users is shown them, or can search by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from recovery_app._core.manager import RecoveryManager
from recovery_app._users import (
    NamedUser,
    SeveralUsers,
    clean_pk,
    find_user,
    latest_users,
    may_view_users,
    user_with_pk,
)
from recovery_app.admin.error_messages import InvalidInput

SHORT_LENGTH = 8
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whose a snapshot is: a digest, and the user if it is known; neither if nobody is."""

    digest: str = ""
    user: NamedUser | None = None

    @property
    def text(self) -> str:
        """Return the name of the user, else the start of the digest."""
        if self.user is not None:
            return self.user.name or self.user.pk
        return f"{self.digest[:SHORT_LENGTH]}…" if self.digest else "–"


NOBODY = Person()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSearch:
    """The person whose snapshots are searched for, and all digests that they may have."""

    person: Person
    digests: tuple[str, ...]


class Persons:
    """Users as one member of the staff may see them.

    Of those whom nobody searched for, only the ``max_users`` who logged in last are recognized.
    """

    def __init__(self, manager: RecoveryManager, viewer: Any, *, max_users: int) -> None:
        self.may_name = may_view_users(viewer)
        self._manager = manager
        self._max_users = max_users
        self._users: dict[str, NamedUser] = {}

    def find(self, digests: Iterable[str]) -> dict[str, Person]:
        """Return the persons that some digests stand for."""
        wanted = {digest for digest in digests if digest}
        if self.may_name and not wanted <= self._users.keys():
            self._recognize(wanted)
        return {
            digest: Person(digest=digest, user=self._users.get(digest)) for digest in (*wanted, "")
        }

    def search(self, *, user: str, digest: str) -> PersonSearch | None:
        """Return whom to search for: a user by name or key, else a digest, else nobody.

        Raise `InvalidInput`, or `ValueError` for what is no digest.
        """
        if user:
            found = self.named(user)
            if found is None:
                raise InvalidInput(_("No user has this name or primary key."))
            return self._search_of(found)
        if not digest:
            return None
        if not _DIGEST.fullmatch(digest):
            raise ValueError("Not a digest of a person.")
        person = self.find([digest])[digest]
        if person.user is not None:
            return self._search_of(person.user)
        return PersonSearch(person=person, digests=(digest,))

    def named(self, text: str) -> NamedUser | None:
        """Return the user with a name or a primary key, who may have been deleted.

        Raise `InvalidInput` if that can't be told or mustn't be.
        """
        if not self.may_name:
            raise InvalidInput(_("Users can be found only with the permission to view them."))
        try:
            return find_user(text) or user_with_pk(text)
        except SeveralUsers:
            raise InvalidInput(
                _("Several users have this name. Enter the primary key instead.")
            ) from None

    def with_pk(self, text: str) -> NamedUser | None:
        """Return the user with a primary key; the name only if it may be shown."""
        if self.may_name:
            return user_with_pk(text)
        key = clean_pk(text)
        return None if key is None else NamedUser(key)

    def _search_of(self, user: NamedUser) -> PersonSearch:
        digests = self._manager.digests_of_user(user.pk)
        self._users.update(dict.fromkeys(digests, user))
        return PersonSearch(person=Person(digest=digests[0], user=user), digests=digests)

    def _recognize(self, wanted: set[str]) -> None:
        for user in latest_users(self._max_users):
            self._users.update(dict.fromkeys(self._manager.digests_of_user(user.pk), user))
            if wanted <= self._users.keys():
                return
