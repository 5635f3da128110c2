"""Primary keys of users, as the user model has them: those who join are named by these."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import Field


def user_model() -> Any:
    """Return the user model, or ``None`` if the project has none."""
    try:
        return get_user_model()
    except ImproperlyConfigured:
        return None


def clean(field: Field[Any, Any], value: Any) -> Any:
    """Return a value, such as a text, as one of a field; ``None`` for what can't be one."""
    try:
        if isinstance(value, str):
            value.encode()
            # PostgreSQL accepts no NUL.
            if "\0" in value:
                return None
        return field.to_python(value)
    except (ValidationError, ValueError, TypeError, OverflowError):
        return None


def user_key_of(user: object) -> object:
    """Return the primary key of a user, or the one that is given.

    Raise `ValueError` for what has none, or can't be one.
    """
    key = getattr(user, "pk", user)
    if key is None:
        raise ValueError("This user has no primary key: nobody is logged in, or it isn't saved.")
    # A user of a model of its own isn't one of the user model.
    meta = getattr(user if hasattr(user, "pk") else user_model(), "_meta", None)
    if meta is None:
        return key
    # "01" is the key of the user 1, and a UUID may be written in several ways.
    cleaned = clean(meta.pk, key)
    if cleaned in (None, ""):
        raise ValueError(f"{key!r} can't be the primary key of a user ({meta.label}).")
    return cleaned
