"""The aliases that lead to the databases of the suite in other ways, or to nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS

# The one name that Django's own test-cases let through without having been told of it.
ALIAS = NO_DB_ALIAS


@contextmanager
def another_alias(of: str, **changes: Any) -> Iterator[str]:
    """Return a new alias with the settings of an existing one but for the changes."""
    connections.settings[ALIAS] = {**connections.settings[of], **changes}
    try:
        yield ALIAS
    finally:
        connection = connections[ALIAS]
        del connections[ALIAS]
        del connections.settings[ALIAS]
        connection.close()
