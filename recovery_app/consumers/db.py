"""Own the care for database connections: one trip to their thread for all who ask at once."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from channels.db import aclose_old_connections

_NEXT: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


async def close_old_connections() -> None:
    """Close old database connections, as Channels does before each message.

    A trip that sets out after it was asked for does for everyone: a thousand joins at once
    take one. Who has a thread to himself (``ThreadSensitiveContext``) goes alone.
    """
    if SyncToAsync.thread_sensitive_context.get(None) is not None:
        await aclose_old_connections()
        return
    loop = asyncio.get_running_loop()
    trip = _NEXT.get(loop)
    if trip is None:
        trip = _NEXT[loop] = loop.create_task(_set_out(loop))
    await asyncio.shield(trip)


async def _set_out(loop: asyncio.AbstractEventLoop) -> None:
    del _NEXT[loop]
    await aclose_old_connections()
