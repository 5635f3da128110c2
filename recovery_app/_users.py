"""Looking up the site's users by the names that operators enter, for any user model or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_permission_codename
from django.core.exceptions import FieldDoesNotExist

from recovery_app._core.user_keys import clean, user_model


@dataclass(frozen=True, slots=True)
class NamedUser:
    """A user: the primary key as text, and the name, ``""`` if there is no such user now."""

    pk: str
    name: str = ""


class SeveralUsers(Exception):
    """Several users have the name, which a user model may allow."""


def find_user(text: str) -> NamedUser | None:
    """Return the user with this name, or else with this primary key.

    Raise `SeveralUsers` if several users have the name.
    """
    model = user_model()
    if model is None:
        return None
    field = model._meta.get_field(model.USERNAME_FIELD)
    found = _users_with(model, field, getattr(model, "normalize_username", str)(text))
    if len(found) > 1:
        raise SeveralUsers
    if not found:
        found = _users_with(model, model._meta.pk, text)
    return _named(found[0]) if found else None


def user_with_pk(text: str) -> NamedUser | None:
    """Return the user with this primary key, who may have been deleted.

    ``None`` for a text that can't be a primary key.
    """
    key = clean_pk(text)
    model = user_model()
    if key is None or model is None:
        return None if key is None else NamedUser(key)
    found = _users_with(model, model._meta.pk, text)
    return _named(found[0]) if found else NamedUser(key)


def clean_pk(text: str) -> str | None:
    """Return a primary key of users in its canonical spelling, or ``None`` for an impossible one.

    No user is looked up.
    """
    model = user_model()
    value = text if model is None else clean(model._meta.pk, text)
    return None if value in (None, "") else str(value)


def latest_users(limit: int) -> list[NamedUser]:
    """Return the users who logged in last, then the newest of those who never did.

    All are the newest ones if the model has no ``last_login``.
    """
    model = user_model()
    if model is None:
        return []
    users = model._base_manager.order_by("-pk")
    try:
        model._meta.get_field("last_login")
    except FieldDoesNotExist:
        return _first(users, limit)
    # Apart, as PostgreSQL sorts nulls first, and by an index in no other way.
    found = _first(users.exclude(last_login=None).order_by("-last_login", "-pk"), limit)
    return found + _first(users.filter(last_login=None), limit - len(found))


def may_view_users(viewer: Any) -> bool:
    """Return whether somebody has the admin's permission to view users."""
    model = user_model()
    if model is None:
        return False
    actions = (get_permission_codename(action, model._meta) for action in ("view", "change"))
    return any(viewer.has_perm(f"{model._meta.app_label}.{codename}") for codename in actions)


def _first(users: Any, limit: int) -> list[NamedUser]:
    rows = users.values_list("pk", users.model.USERNAME_FIELD)[:limit] if limit > 0 else ()
    return [NamedUser(str(pk), str(name)) for pk, name in rows]


def _users_with(model: Any, field: Any, text: str) -> list[Any]:
    value = clean(field, text)
    # Not the default manager, which may leave out users who were deactivated.
    return [] if value is None else list(model._base_manager.filter(**{field.name: value})[:2])


def _named(user: Any) -> NamedUser:
    return NamedUser(str(user.pk), str(user.get_username()))
