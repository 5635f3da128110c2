"""Own how the manager tells the world: observers at once, signal receivers robustly."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from recovery_app._core.socket_ids import SocketIds
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers, recovery_failed, state_recovered


class Given(Protocol):
    """What is known of a state that is given back."""

    @property
    def socket_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def applied_seq(self) -> int | None: ...


class _Nothing:
    """Nothing to wait for, at a third of the cost of a coroutine that ends at once."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


NOTHING = _Nothing()


class Notifier:
    """Announce what came of recoveries, in the name of ``sender``."""

    def __init__(self, sender: type, socket_ids: SocketIds) -> None:
        self._sender = sender
        self._socket_ids = socket_ids

    def recovered(self, given: Given, state: dict[str, Any]) -> None:
        """Tell of a state given back."""
        observers.recovered()
        if state_recovered.receivers:
            state_recovered.send_robust(self._sender, state=state, **_facts(given))

    def arecovered(self, given: Given, state: dict[str, Any]) -> Awaitable[object]:
        """Do as `recovered`."""
        observers.recovered()
        if state_recovered.receivers:
            return state_recovered.asend_robust(self._sender, state=state, **_facts(given))
        return NOTHING

    def failed(self, error: RecoveryError) -> None:
        """Tell of a state that couldn't be given back."""
        observers.failed(error)
        recovery_failed.send_robust(self._sender, socket_id=self._id_for(error), error=error)

    async def afailed(self, error: RecoveryError) -> None:
        """Do as `failed`."""
        observers.failed(error)
        await recovery_failed.asend_robust(self._sender, socket_id=self._id_for(error), error=error)

    def _id_for(self, error: RecoveryError) -> str | None:
        key = error.socket_hash
        return None if key is None else self._socket_ids.find(key) or key


def _facts(given: Given) -> dict[str, Any]:
    return {
        "socket_id": given.socket_id,
        "version": given.version,
        "applied_seq": given.applied_seq,
    }
