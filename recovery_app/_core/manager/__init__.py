"""Own recovery itself: tokens out, states in, states back to whoever may have them.

The manager knows no settings, no Channels and no metrics; `recovery_app.conf` builds one
from the settings. Each call that touches the storage (`sync`) has a twin with ``a`` in front
for the event loop (`asynchronous`); the two share every rule (`recovery_app._core.operations`) and
repeat only the ``await``.
"""

from recovery_app._core.manager.asynchronous import AsyncCalls
from recovery_app._core.manager.base import (
    DEFAULT_CLEANUP_INTERVAL,
    DEFAULT_MAX_STATE_BYTES,
    DEFAULT_TOKEN_MAX_AGE,
    DEFAULT_TTL,
    MAX_SECONDS,
    TOUCHES_PER_TTL,
    State,
)
from recovery_app._core.manager.inspection import InspectionCalls

__all__ = [
    "DEFAULT_CLEANUP_INTERVAL",
    "DEFAULT_MAX_STATE_BYTES",
    "DEFAULT_TOKEN_MAX_AGE",
    "DEFAULT_TTL",
    "MAX_SECONDS",
    "TOUCHES_PER_TTL",
    "RecoveryManager",
    "State",
]


class RecoveryManager(AsyncCalls, InspectionCalls):
    """Keep states for sockets that may come back.

    Arguments mean what the settings of the same name mean (``docs/settings.md``), with
    times in seconds or as `timedelta`; ``clock`` gives the seconds since 1970. Usable from
    any thread, from any event loop, and after a fork.
    """
