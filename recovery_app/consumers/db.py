"""Closing old database connections, in one trip to their thread for all that ask at once.

Channels closes old connections before each message, on another thread, which takes as long as
handling an event. Here this happens at most once in `CARE_SECONDS` for each event loop, and at
once after application code has raised a database error.

If a database doesn't answer, the thread waits for it. Pages then continue without waiting: what
they run on that thread later comes after the trip in any case.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from channels.db import aclose_old_connections
from django.db import Error

CARE_SECONDS = 1
PATIENCE_SECONDS = 1.0
"""How long a page waits for the thread, which may have to wait for a database."""


class _Care:
    """The connection care of one event loop."""

    def __init__(self) -> None:
        self.due_at = 0.0
        self.is_stuck = False
        self.trip: asyncio.Task[None] | None = None


_care: WeakKeyDictionary[asyncio.AbstractEventLoop, _Care] = WeakKeyDictionary()


def is_due() -> bool:
    """Return whether old connections have to be closed before code that may use them."""
    loop = asyncio.get_running_loop()
    care = _care.get(loop)
    if care is None or _has_own_thread():
        return True
    return not care.is_stuck and loop.time() >= care.due_at


def note_error(error: BaseException) -> None:
    """Have connections closed before the next code if an error came from a database."""
    care = _care.get(asyncio.get_running_loop())
    if care is not None and isinstance(error, Error):
        care.due_at = 0.0


async def close_old_connections() -> None:
    """Close old database connections, as Channels does before each message.

    Everyone who asks before a trip starts shares it: a thousand joins at once cause one. Code
    with a thread of its own (``ThreadSensitiveContext``) makes its own trip.
    """
    if _has_own_thread():
        await aclose_old_connections()
        return
    loop = asyncio.get_running_loop()
    care = _care.get(loop)
    if care is None:
        care = _care[loop] = _Care()
    if care.trip is None:
        care.trip = loop.create_task(_set_out(loop, care))
    trip = care.trip
    await asyncio.wait([trip], timeout=PATIENCE_SECONDS)
    if trip.done():
        trip.result()
    else:
        care.is_stuck = True


async def _set_out(loop: asyncio.AbstractEventLoop, care: _Care) -> None:
    care.trip = None
    try:
        await aclose_old_connections()
    finally:
        care.is_stuck = False
    care.due_at = loop.time() + CARE_SECONDS


def _has_own_thread() -> bool:
    return SyncToAsync.thread_sensitive_context.get(None) is not None
