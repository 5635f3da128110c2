"""Own how the manager tells the world: observers at once, signal receivers robustly."""

from __future__ import annotations

from typing import Any

from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers, recovery_failed, state_recovered
from recovery_app.snapshots import Snapshot
from recovery_app.socket_ids import SocketIds
from recovery_app.values import Takeover


class Announcer:
    """Announce what came of recoveries, in the name of ``sender``."""

    def __init__(self, sender: type, socket_ids: SocketIds) -> None:
        self._sender = sender
        self._socket_ids = socket_ids

    def recovered(self, given: Takeover | Snapshot, state: dict[str, Any]) -> None:
        """Tell of a state given back."""
        observers.recovered()
        if state_recovered.receivers:
            state_recovered.send_robust(self._sender, state=state, **_facts(given))

    async def arecovered(self, given: Takeover | Snapshot, state: dict[str, Any]) -> None:
        """Do as `recovered`."""
        observers.recovered()
        if state_recovered.receivers:
            await state_recovered.asend_robust(self._sender, state=state, **_facts(given))

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


def _facts(given: Takeover | Snapshot) -> dict[str, Any]:
    source = given if isinstance(given, Takeover) else given.header
    return {
        "socket_id": given.socket_id,
        "version": source.version,
        "applied_seq": source.applied_seq,
    }
