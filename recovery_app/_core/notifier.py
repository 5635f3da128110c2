"""Notification of recoveries: of observers at once, of signal receivers robustly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from recovery_app._core.error_texts import describe_error
from recovery_app._core.journal import Journal
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers, recovery_failed, state_recovered


class Recovered(NamedTuple):
    """What `recovery_app._core.operations.Operations.recover` returns."""

    state: dict[str, Any]
    socket_id: str
    applied_seq: int | None
    version: int


class Recovery(Protocol):
    """The part of `Recovered` and `Takeover` that is reported."""

    @property
    def state(self) -> dict[str, Any]: ...
    @property
    def socket_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def applied_seq(self) -> int | None: ...


class Notifier:
    """Reports the results of recoveries, with ``sender`` as the sender of signals.

    ``find_socket_id`` returns the socket id with a hash if it is known; otherwise the hash is used
    instead. ``journal`` gets failed calls; a page's connection records its own failures, because it
    knows more of them.
    """

    def __init__(
        self, sender: type, find_socket_id: Callable[[str], str | None], journal: Journal
    ) -> None:
        self._sender = sender
        self._journal = journal
        self._find_socket_id = find_socket_id

    def recovered(self, recovery: Recovery) -> None:
        """Report a recovered state."""
        observers.recovered()
        if state_recovered.receivers:
            state_recovered.send_robust(self._sender, **_facts(recovery))

    def arecovered(self, recovery: Recovery) -> Awaitable[object] | None:
        """Do the same from an event loop; return what is to be awaited, if anything."""
        observers.recovered()
        if not state_recovered.receivers:
            return None
        return state_recovered.asend_robust(self._sender, **_facts(recovery))

    def call_failed(self, error: RecoveryError) -> None:
        """Report that a call of the manager recovered nothing."""
        self._note(error)
        self.failed(error)

    async def acall_failed(self, error: RecoveryError) -> None:
        """Do the same from an event loop."""
        self._note(error)
        await self.afailed(error)

    def failed(self, error: RecoveryError) -> None:
        """Report a failed recovery."""
        observers.failed(error)
        recovery_failed.send_robust(self._sender, socket_id=self._id_for(error), error=error)

    async def afailed(self, error: RecoveryError) -> None:
        """Do the same from an event loop."""
        observers.failed(error)
        await recovery_failed.asend_robust(self._sender, socket_id=self._id_for(error), error=error)

    def _note(self, error: RecoveryError) -> None:
        cause, shown = describe_error(error), error.socket_hash or ""
        self._journal.note("recovery", error.reason, cause=cause, shown_hash=shown)

    def _id_for(self, error: RecoveryError) -> str | None:
        key = error.socket_hash
        return None if key is None else self._find_socket_id(key) or key


def _facts(recovery: Recovery) -> dict[str, Any]:
    return {
        "state": recovery.state,
        "socket_id": recovery.socket_id,
        "version": recovery.version,
        "applied_seq": recovery.applied_seq,
    }
