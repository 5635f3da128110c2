"""The models of the tables, looked up late: settings may name the storage before models load."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured


def model_of(name: str) -> Any:
    """Return a model of this app; raise `ImproperlyConfigured` if the app isn't installed."""
    try:
        return apps.get_model("recovery_app", name)
    except LookupError as error:
        raise ImproperlyConfigured(
            "DatabaseStorage has no tables: add 'recovery_app' to INSTALLED_APPS and run "
            "manage.py migrate."
        ) from error
