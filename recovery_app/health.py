"""The health check of the storage, and the endpoints for probes, which don't use the storage.

The check saves, loads and deletes a snapshot under its own key.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import asdict, dataclass

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from recovery_app._core.manager import RecoveryManager
from recovery_app.clock import to_us
from recovery_app.drain import is_draining
from recovery_app.exceptions import StorageError
from recovery_app.middleware import current_manager
from recovery_app.snapshots import REVOKED, Header, Snapshot
from recovery_app.storages import Storage

DEFAULT_TIMEOUT = 5
TTL_SECONDS = 60
"""The lifetime of the check's key if it can't be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageHealth:
    """The result of a check; ``problem`` is a message for people, empty if the storage works.

    ``storage`` is the name of the storage's class, empty if the settings are invalid.
    """

    storage: str
    seconds: float
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Return whether the storage works."""
        return not self.problem


async def acheck_storage(
    manager: RecoveryManager | None = None, *, timeout: float = DEFAULT_TIMEOUT
) -> StorageHealth:
    """Save, load and delete a snapshot in the storage, within ``timeout`` seconds; never raise.

    ``manager`` is the current one by default. Listings, metrics and logs leave the check out.
    """
    start = time.monotonic()
    name = ""
    try:
        used = (manager or current_manager()).storage
        name = type(used).__name__
        problem = await asyncio.wait_for(_try(used), timeout)
    except asyncio.TimeoutError:
        problem = f"No answer within {timeout:g} s."
    except StorageError as error:
        # Without the address, which is in the log: health pages are often public.
        problem = getattr(error, "summary", str(error))
    except ImproperlyConfigured:
        # The error may name a server or a path, and health pages are often public.
        problem = "The setting RECOVERY is invalid: run manage.py check."
    except Exception as error:  # A custom storage may raise anything.
        problem = f"It raised {type(error).__name__}."
    return StorageHealth(storage=name, seconds=time.monotonic() - start, problem=problem)


@never_cache
async def live(_request: HttpRequest) -> HttpResponse:
    """Answer the liveness probe: the process and its event loop run."""
    return HttpResponse("live\n", content_type="text/plain")


@never_cache
async def ready(_request: HttpRequest) -> HttpResponse:
    """Answer the readiness probe: 503 while the process drains, whether or not the storage works.

    All nodes share the storage: if the probe depended on it, an outage would take out all of them,
    although each keeps working without it.
    """
    if is_draining():
        return HttpResponse("draining\n", content_type="text/plain", status=503)
    return HttpResponse("ready\n", content_type="text/plain")


@never_cache
async def storage(_request: HttpRequest) -> JsonResponse:
    """Return whether the storage works, with status 503 if not: for people, not for probes."""
    found = await acheck_storage()
    return JsonResponse(asdict(found), status=200 if found.is_good else 503)


async def _try(used: Storage) -> str:
    # As long as the hash of a socket id, which is the key of a real snapshot.
    key = secrets.token_hex(8)
    data = _make_snapshot(binding=secrets.token_bytes(16), now_us=to_us(used.clock()))
    if used.supports_atomic_fence:
        # As a page's state is saved: a server may allow plain commands, and no scripts.
        await used.asave_fenced(key, data, TTL_SECONDS)
    else:
        await used.asave(key, data, TTL_SECONDS)
    found = await used.aload(key)
    was_there = await used.adelete(key)
    if found is None or not was_there:
        return "The snapshot just saved wasn't found."
    if found != data:
        return "The snapshot just saved came back different."
    return ""


def _make_snapshot(binding: bytes, now_us: int) -> bytes:
    """Return a snapshot that listings omit and no token can recover."""
    header = Header(
        fence=now_us,
        floor=now_us,
        binding=binding,
        flags=REVOKED,
        created_us=now_us,
        saved_us=now_us,
    )
    snapshot = Snapshot(header=header, socket_id="", view="", topic="", serializer="", state=b"")
    return snapshot.to_bytes()
