"""The recovery of one joined topic: what its join takes over, and what its reply says.

A session uses the manager, and neither Channels nor frames. One task at a time uses it,
except for `Session.keep_alive`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from recovery_app._core.driver import Flow
from recovery_app._core.error_texts import describe_error
from recovery_app._core.rebinding import bind_to_first_join, take_over_as, verify_any
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._core.tokens import Grant
from recovery_app._live.durable_state import DurableState
from recovery_app._live.outcomes import Outcome, outcome_of
from recovery_app._live.replies import ReplyCache
from recovery_app._live.sockets import Socket, new_id
from recovery_app.clock import MICROSECONDS
from recovery_app.exceptions import RecoveryError
from recovery_app.values import Takeover

logger = logging.getLogger("recovery_app")

_TAKEOVER = wrap_unexpected_errors("takeover")


class Failure(NamedTuple):
    """The error of a recovery: its reason, and the socket of the token."""

    reason: str = ""
    socket_hash: str | None = None
    cause: str = ""


class Session(DurableState):
    """Takes over a state, or starts one, when a topic is joined, and then stores its changes."""

    matched_fallback: int | None = None
    """The fallback that the client's token was bound to, if it wasn't the binding itself."""
    failure = Failure()
    """Why nothing was recovered."""
    shows_token = False
    """Whether the client sent a token that may be used."""
    recovered_us = 0
    """When the recovered state was saved, in microseconds since 1970."""
    original: ReplyCache | None = None
    """The numbered events in a state that was copied from a newer connection's."""
    _aliases: tuple[str, ...] = ()

    @property
    def unsaved_seconds(self) -> float | None:
        """The age of the recovered state: the page was away for at most that long."""
        if not self.recovered_us:
            return None
        return max(0, self.manager.operations.now_us() - self.recovered_us) / MICROSECONDS

    async def take_over(self, token: object, fallbacks: Sequence[bytes] = ()) -> Takeover | None:
        """Take over the state of the token; ``None`` if that fails, for the reason in `outcome`.

        A token for one of the bindings in ``fallbacks`` is renewed.
        """
        flow = self._taking_over(token, fallbacks)
        # Error trackers record the variables of the frames that a storage's error passes.
        del token, fallbacks
        try:
            with _TAKEOVER:
                takeover, grant, is_copy = await self.manager.driver.arun(
                    flow, "recovery.take_over"
                )
        except RecoveryError as error:
            await self.discard(error)
            return None
        self.failure = Failure(socket_hash=grant.key)
        self.recovered_us = takeover.saved_us
        stored_replies = self.exchange.restore(takeover.replies, is_copy=is_copy)
        replies = ReplyCache(takeover.applied_seq or 0, stored_replies)
        self.last_state = takeover.payload
        if is_copy:
            # Its numbers start again, and what it has applied is told with the join.
            self.outcome, self.original = Outcome.COPIED, replies
            self._pending_socket = Socket(takeover.socket_id, grant)
            return takeover
        self.outcome, self.replies = Outcome.RECOVERED, replies
        is_current = takeover.version == self._metadata.version and self.matched_fallback is None
        self._saved = takeover.payload if is_current else None
        self._socket = Socket(takeover.socket_id, grant)
        self._replied_us = takeover.issued_us
        self._confirmed_us = takeover.shown_us
        return takeover

    def _taking_over(
        self, token: object, fallbacks: Sequence[bytes]
    ) -> Flow[tuple[Takeover, Grant, bool]]:
        operations, version = self.manager.operations, self._metadata.version
        first_join = bind_to_first_join(self._binding)
        grant, index = verify_any(operations, token, (self._binding, *fallbacks, first_join))
        is_first_join = index > len(fallbacks)
        del token, fallbacks, first_join
        self.matched_fallback = index - 1 if index and not is_first_join else None
        target = operations.bind(grant, self._binding) if index else grant
        # Whoever has the page's HTML, from a cache say, gets no state out of it later.
        copy_id = None if is_first_join else new_id()
        return (yield from take_over_as(operations, grant, target, version, self.person, copy_id))

    async def discard(self, error: RecoveryError) -> None:
        """Continue without the state that was taken over, and report the reason."""
        self.outcome = outcome_of(error)
        if self._socket is not None:
            error.socket_hash = error.socket_hash or self._socket.grant.key
            if self.outcome is Outcome.FAILED:
                self._unrestored = self._socket.grant
        self.failure = Failure(error.reason, error.socket_hash, describe_error(error))
        self.recovered_us = 0
        self._socket = self._pending_socket = self.last_state = self._saved = None
        self.original = None
        self.replies = ReplyCache()
        self.exchange.reset()
        logger.info("A recovery failed: %s", error, extra=self._facts("recovery_failed", error))
        await self.manager.notifier.afailed(error)

    async def resume(self, payload: bytes) -> None:
        """Continue with the state that the application has restored; store it if it has changed."""
        self._joined_hash = hash(payload)
        self.last_state = payload
        if self._socket is None:
            await self.start(payload)
        elif not self.is_saved:
            await self.save()

    async def start(self, payload: bytes) -> None:
        """Store the state of a fresh mount, or of a copy, as the first snapshot of a socket.

        It isn't stored if the client's own token may still be valid.
        """
        self._joined_hash = hash(payload)
        self.last_state = payload
        if self.outcome.preserves_client_token:
            self._saved = payload
            self._preserves_client_token = True
            return
        if await self._fork_socket(payload) and self._socket is not None:
            self._replied_us = self._socket.grant.issued_us
        else:
            # A client that showed a token shows it again, and must learn what became of that.
            self._preserves_client_token = self.outcome is not Outcome.NEW
            self.outcome = Outcome.UNAVAILABLE

    def join_reply(self, *, tells_lines: bool) -> dict[str, Any]:
        """Return the ``_recovery`` part of the reply to a join."""
        reply: dict[str, Any] = {
            "token": self.token,
            "outcome": self.outcome.value,
            "ttl": self.manager.ttl,
            "seq": self.replies.applied,
            "owner": self.person.owner,
        }
        if self._aliases:
            reply["aliases"] = self._aliases
        if self.exchange.pushes is not None:
            reply["missed"] = self.exchange.pushes.missed
        if tells_lines:
            reply["lines"] = self.replies.lines
            if self.outcome is Outcome.COPIED and self.original is not None:
                reply["original"] = self.original.describe()
        return reply

    def add_aliases(self, names: Sequence[bytes | None]) -> None:
        """Add names to the reply under which the client may have kept the same person's events."""
        owners = [self.manager.operations.owner_of(name) for name in names if name is not None]
        self._aliases += tuple(each for each in owners if each != self.person.owner)
