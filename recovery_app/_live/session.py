"""Own the recovery life of one joined topic: which token it holds, what of it is safe.

A session knows the manager and nothing of Channels or of frames. It is used by one task
at a time, but for `Session.keep_alive`.
"""

from __future__ import annotations

import enum
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from recovery_app._core import outages
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.operations import SnapshotMetadata
from recovery_app._core.tokens import issued_us_of, key_of
from recovery_app._live.replies import ReplyCache
from recovery_app.clock import MICROSECONDS, to_us
from recovery_app.exceptions import (
    RecoveryError,
    SnapshotError,
    SnapshotNotFound,
    StorageError,
    TokenError,
    TokenExpired,
    TokenSuperseded,
)
from recovery_app.signals import observers
from recovery_app.values import Takeover

logger = logging.getLogger("recovery_app")

SOCKET_ID_BYTES = 16


class Outcome(str, enum.Enum):
    """What came of a join, as the client is told it."""

    NEW = "new"
    RECOVERED = "recovered"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    VERSION = "version"
    UNAVAILABLE = "unavailable"

    @property
    def keeps_token(self) -> bool:
        """Tell the outcomes after which the client's own token may still be good."""
        return self in (Outcome.VERSION, Outcome.UNAVAILABLE)


def outcome_of(error: RecoveryError) -> Outcome:
    """Give the one word that tells a client why its state didn't come back."""
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return Outcome.VERSION


_OUTCOMES: tuple[tuple[type[RecoveryError], Outcome], ...] = (
    (TokenExpired, Outcome.EXPIRED),
    (TokenSuperseded, Outcome.SUPERSEDED),
    (TokenError, Outcome.REJECTED),
    (SnapshotNotFound, Outcome.NOT_FOUND),
    (StorageError, Outcome.UNAVAILABLE),
)


class Session:
    """Hold the token of one joined topic, and keep its state safe under it.

    ``announce`` is awaited with a token that the client must learn of between joins.
    """

    def __init__(
        self,
        manager: RecoveryManager,
        *,
        binding: bytes,
        view: str,
        topic: str,
        version: int,
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self.manager = manager
        self.outcome = Outcome.NEW
        self.token: str | None = None
        self.sequence = ReplyCache()
        """The client's numbered events: it is stored with the state, in one step."""
        self.good: bytes | None = None
        """The last state that was whole, serialized: what a failed handler goes back to."""
        self._binding = binding
        self._view = view
        self._topic = topic
        self._version = version
        self._announce = announce
        self._socket_id = ""
        self._own: tuple[str, str] | None = None
        self._saved: bytes | None = None
        self._unsafe = False
        self._spares_token = False
        self._replied_us = 0
        self._confirmed_us = 0

    # Joining.

    async def claim(self, token: object) -> Takeover | None:
        """Take over what the token stands for; ``None`` where `outcome` says why not."""
        try:
            with outages.TAKEOVER:
                takeover = await self.manager.aclaim(
                    token, binding=self._binding, newest_version=self._version
                )
        except RecoveryError as error:
            await self.fail(error)
            return None
        self.outcome = Outcome.RECOVERED
        self.token = takeover.token
        self.sequence = ReplyCache(takeover.applied_seq or 0, takeover.replies)
        self.good = takeover.payload
        self._saved = takeover.payload if takeover.version == self._version else None
        self._socket_id = takeover.socket_id
        self._replied_us = takeover.issued_us
        self._confirmed_us = takeover.shown_us
        return takeover

    async def fail(self, error: RecoveryError) -> None:
        """Go on without what was claimed, and announce why."""
        self.outcome = outcome_of(error)
        if self.token is not None:
            error.socket_hash = error.socket_hash or key_of(self.token)
        self.token = self.good = self._saved = None
        self.sequence = ReplyCache()
        logger.info("A recovery failed: %s", error, extra=self._facts("recovery_failed", error))
        await self.manager.announcer.afailed(error)

    async def start(self, payload: bytes) -> None:
        """Keep the state of a fresh mount, unless the client's own token may still be good."""
        self.good = payload
        if self.outcome.keeps_token:
            self._saved = payload
            self._spares_token = True
            return
        if await self._start_own(payload):
            self._replied_us = issued_us_of(self.token or "")
        else:
            # A client that showed a token shows it again, and must hear what became of that.
            self._spares_token = self.outcome is not Outcome.NEW
            self.outcome = Outcome.UNAVAILABLE

    def greeting(self) -> dict[str, Any]:
        """Give the ``_recovery`` part of the reply to a join."""
        return {
            "token": self.token,
            "outcome": self.outcome.value,
            "ttl": self.manager.ttl,
            "seq": self.sequence.applied,
        }

    def confirm(self) -> None:
        """Note that the client has the token of the join's reply: it sent something since."""
        self._confirmed_us = max(self._confirmed_us, self._replied_us)
        self._spares_token = False

    # Living.

    @property
    def is_safe(self) -> bool:
        """Say whether the last attempt to store a state, and its number, went well."""
        return not self._unsafe and self.sequence.is_safe

    async def save_good(self) -> None:
        """Make the last whole state safe, where there is one."""
        if self.good is not None:
            await self.save(self.good)

    async def save(self, payload: bytes, *, force: bool = False) -> bool:
        """Make a state safe, unless it is already; say whether it is.

        Refused, because a newer connection took over, it goes on under a socket id of its
        own. An outage leaves it unsafe until the next save or touch.
        """
        self.good = payload
        if self._spares_token:
            # A snapshot of its own would take the client's token from it, which may be good:
            # that is for an event of the client's to do, and for no group message.
            return False
        if payload == self._saved and self.is_safe and not force:
            return True
        if self.token is None:
            return await self._start_own(payload, tell=True)
        try:
            await self._store(self.token, self._socket_id, payload, self._confirmed_us)
        except StorageError as error:
            return self._leave_unsafe(error)
        except (TokenError, SnapshotError) as error:
            self._note_fenced(error)
            return await self._start_own(payload, tell=True)
        return True

    async def touch(self) -> None:
        """Show that the connection lives, and renew a token that has half its age behind it."""
        if self.good is None or (self.token is None and not self._unsafe):
            return
        if self.token is None or self._unsafe or not await self._touch(self.token):
            await self.save(self.good, force=True)
        if self.token is not None and self._is_half_spent(self.token):
            await self.renew(self._binding)

    async def keep_alive(self) -> None:
        """Restart the time to live and change nothing: this may run beside any other call."""
        if self.token is not None:
            with suppress(RecoveryError), outages.TOUCH:
                await self.manager.atouch(self.token, binding=self._binding)

    async def renew(self, binding: bytes) -> None:
        """Bind the snapshot to ``binding`` under a newer token, and announce that."""
        token, before = self.token, self._binding
        self._binding, self._own = binding, None
        if token is None:
            return
        try:
            with outages.RENEWAL:
                self.token = await self.manager.arenew(token, binding=before, new_binding=binding)
        except StorageError as error:
            if binding != before:
                # Under the old token it would stay with whoever it was bound to.
                self.token = None
            self._leave_unsafe(error)
        except (TokenError, SnapshotError) as error:
            self._note_fenced(error)
            await self._start_own(self.good or b"", tell=True)
        else:
            await self._announce(self.token)

    async def _touch(self, token: str) -> bool:
        try:
            with outages.TOUCH:
                return await self.manager.atouch(token, binding=self._binding)
        except StorageError as error:
            return not self._leave_unsafe(error)
        except RecoveryError:
            return False

    async def _start_own(self, payload: bytes, *, tell: bool = False) -> bool:
        """Store the state as the first of a socket that is this connection's alone."""
        # An outage may last for many attempts: they are all for one socket.
        if self._own is None or self._is_half_spent(self._own[1]):
            socket_id = secrets.token_urlsafe(SOCKET_ID_BYTES)
            self._own = socket_id, self.manager.create_token(socket_id, binding=self._binding)
        socket_id, token = self._own
        try:
            await self._store(token, socket_id, payload, 0)
        except StorageError as error:
            return self._leave_unsafe(error)
        self._own = None
        self.token, self._socket_id = token, socket_id
        self._replied_us = self._confirmed_us = 0
        if tell:
            await self._announce(token)
        return True

    async def _store(self, token: str, socket_id: str, payload: bytes, confirmed_us: int) -> None:
        applied = self.sequence.applied
        labels = SnapshotMetadata(
            applied_seq=applied or None,
            version=self._version,
            view=self._view,
            topic=self._topic,
            confirmed_us=confirmed_us,
            replies=self.sequence.pack(),
        )
        with outages.SAVE:
            await self.manager.asave_payload(
                token, payload, binding=self._binding, socket_id=socket_id, labels=labels
            )
        self._saved = payload
        self._unsafe = False
        self.sequence.safe = applied

    def _note_fenced(self, error: RecoveryError) -> None:
        observers.connection_fenced()
        logger.info("A connection was fenced: %s", error, extra=self._facts("fenced", error))

    def _leave_unsafe(self, error: StorageError) -> bool:
        if not self._unsafe:
            # There may be thousands of these; the outage itself is a warning of its own.
            logger.info("A state isn't safe: %s", error, extra=self._facts("unsafe", error))
        self._unsafe = True
        return False

    def _facts(self, event: str, error: RecoveryError) -> dict[str, Any]:
        return {
            "event": event,
            "outcome": self.outcome.value,
            "reason": error.reason,
            "socket_hash": error.socket_hash,
            "topic": self._topic,
        }

    def _is_half_spent(self, token: str) -> bool:
        limit = self.manager.token_max_age
        if limit is None:
            return False
        age_us = to_us(self.manager.clock()) - issued_us_of(token)
        return age_us > limit * MICROSECONDS / 2
