"""Communicators that have patience: by default they wait a second, too short on a busy machine."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.testing import ApplicationCommunicator

PATIENCE_SECONDS = 60


def have_patience() -> None:
    """Have all communicators wait at least so long, whatever a test says, for what has to come."""
    for name in ("receive_output", "wait"):
        setattr(ApplicationCommunicator, name, _patient(getattr(ApplicationCommunicator, name)))


def _patient(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def wait(self: ApplicationCommunicator, timeout: float = 0) -> Any:
        return await method(self, max(timeout, PATIENCE_SECONDS))

    return wait
