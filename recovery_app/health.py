"""Own the health check: a snapshot's way into the storage and back, under a key of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from recovery_app._core.manager import RecoveryManager
from recovery_app.exceptions import StorageError
from recovery_app.middleware import current_manager
from recovery_app.snapshots import REVOKED, Header, Snapshot
from recovery_app.storages import Storage

DEFAULT_TIMEOUT = 5
TTL_SECONDS = 60
"""How long the check's own key may live if it can't be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageHealth:
    """What a check found: ``problem`` says in words what is wrong, if anything.

    ``storage`` has no name where the settings make none.
    """

    storage: str
    seconds: float
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Say whether states are safe there."""
        return not self.problem


async def acheck_storage(
    manager: RecoveryManager | None = None, *, timeout: float = DEFAULT_TIMEOUT
) -> StorageHealth:
    """Save, load and delete something in the storage, within ``timeout`` seconds; never raises.

    ``manager``: the current one by default. Nothing of it is seen in listings, metrics or
    logs.
    """
    start = time.monotonic()
    name = ""
    try:
        storage = (manager or current_manager()).storage
        name = type(storage).__name__
        problem = await asyncio.wait_for(_try(storage), timeout)
    except asyncio.TimeoutError:
        problem = f"No answer within {timeout:g} s."
    except StorageError as error:
        problem = str(error)
    except ImproperlyConfigured:
        # What is wrong may name a server or a path, and these pages are often open to all.
        problem = "The setting RECOVERY is wrong: manage.py check says how."
    except Exception as error:  # A storage of the application's own may raise anything.
        problem = f"It raised {type(error).__name__}."
    return StorageHealth(storage=name, seconds=time.monotonic() - start, problem=problem)


async def _try(storage: Storage) -> str:
    # As long as the key of a socket, which it is not the hash of.
    key = secrets.token_hex(8)
    data = _marker(secrets.token_bytes(16))
    await storage.asave(key, data, TTL_SECONDS)
    found = await storage.aload(key)
    was_there = await storage.adelete(key)
    if found is None or not was_there:
        return "What was just saved isn't there."
    if found != data:
        return "What was just saved came back as something else."
    return ""


def _marker(binding: bytes) -> bytes:
    """Give a snapshot that listings pass over, bound to nobody."""
    header = Header(fence=0, floor=0, binding=binding, flags=REVOKED)
    snapshot = Snapshot(header=header, socket_id="", view="", topic="", serializer="", state=b"")
    return snapshot.to_bytes()
