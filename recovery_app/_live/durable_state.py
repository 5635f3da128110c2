"""The state of one joined topic, which is stored under a token of its own.

The storage decides what becomes of it: saved, fenced by a newer connection, or revoked.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from recovery_app._core.driver import Flow
from recovery_app._core.error_texts import describe_error
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.metadata import SnapshotMetadata
from recovery_app._core.persons import Person, check_person
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._core.tokens import Grant
from recovery_app._live.exchange import Exchange
from recovery_app._live.incidents import note, note_fork
from recovery_app._live.outcomes import Outcome
from recovery_app._live.replies import ReplyCache
from recovery_app._live.sockets import Socket
from recovery_app.exceptions import (
    RecoveryError,
    SnapshotError,
    StateTooLarge,
    StorageError,
    TokenError,
    TokenSuperseded,
)
from recovery_app.signals import observers

logger = logging.getLogger("recovery_app")

NO_PERSON = Person()
_SAVE, _TOUCH, _RENEWAL = map(wrap_unexpected_errors, ("save", "touch", "renewal"))


class DurableState:
    """Holds the token of one joined topic, and stores the state under it.

    ``announce`` is awaited with each token that the client has to learn between joins, and
    ``close`` when the socket or its person has been revoked.
    """

    def __init__(
        self,
        manager: RecoveryManager,
        *,
        binding: bytes,
        metadata: SnapshotMetadata,
        announce: Callable[[str], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
        person: Person = NO_PERSON,
        exchange: Exchange | None = None,
    ) -> None:
        self.manager = manager
        self.person = person
        """The person that the state and the events belong to."""
        self.is_revoked = False
        """Whether the socket, or its person, was revoked: nothing is saved any more."""
        self.outcome = Outcome.NEW
        self.replies = ReplyCache()
        """The client's numbered events: stored with the state, in one step."""
        self.exchange = exchange or Exchange()
        """Pushes and positions in groups: stored in the same step."""
        self.last_state: bytes | None = None
        """The last consistent state, serialized, to which a failed handler is rolled back."""
        self.log_name = ""
        """The primary key of the user, if the application wants it logged."""
        self.unsaved_error: tuple[str, str] | None = None
        """Why the last state isn't stored: the error's reason and text."""
        self._joined_hash = 0
        self._binding = binding
        self._metadata = metadata
        self._announce = announce
        self._close = close
        self._known_since_us = manager.operations.now_us()
        self._socket: Socket | None = None
        self._pending_socket: Socket | None = None
        self._saved: bytes | None = None
        self._dirty = False
        self._is_open = False
        self._is_started_here = False
        self._unrestored: Grant | None = None
        self._preserves_client_token = False
        self._replied_us = 0
        self._confirmed_us = 0

    def open(self) -> None:
        """Report from now on that the page is live, and whether the state is unsaved."""
        self._is_open = True
        self.manager.reporter.opened(self)
        if self._dirty:
            observers.state_unsafe()

    def close(self) -> None:
        """Stop reporting: the topic has ended."""
        if self._is_open and self._dirty:
            observers.state_safe()
        self._is_open = False
        self.manager.reporter.closed(self)

    @property
    def token(self) -> str | None:
        """The token that the client has to send when it comes back."""
        return None if self._socket is None else self._socket.grant.token

    @property
    def socket_hash(self) -> str | None:
        """The name of the socket in storage and logs."""
        return None if self._socket is None else self._socket.grant.key

    @property
    def started(self) -> Grant | None:
        """The token of a socket that started with this session; ``None`` after a takeover."""
        return self._socket.grant if self._socket is not None and self._is_started_here else None

    def acknowledge_token(self) -> None:
        """Note that the client has the token of the join's reply: it has sent something since."""
        if self._confirmed_us < self._replied_us:
            self._confirmed_us = self._replied_us
        self._preserves_client_token = False

    @property
    def names(self) -> tuple[str, str]:
        """View and topic."""
        return self._metadata.view, self._metadata.topic

    @property
    def has_unsaved_changes(self) -> bool:
        """Whether a change made after the join isn't stored."""
        return not self.is_durable and hash(self.last_state) != self._joined_hash

    @property
    def is_durable(self) -> bool:
        """Whether the last attempt to store a state, and its number, succeeded."""
        return not self._dirty and self.replies.is_safe and self.exchange.is_safe

    @property
    def is_saved(self) -> bool:
        """Whether the last consistent state is stored, with its number."""
        return self.last_state == self._saved and self.is_durable

    def save(self, *, force: bool = False) -> Awaitable[None]:
        """Store the last consistent state, unless it is already stored or there is none.

        If the save is refused because a newer connection took over, continue under a new socket
        id. After an outage, the state stays unsaved until the next save or touch. Pushes that
        are stored are then sent.
        """
        saving = self._save(force=force)
        return saving if self.exchange.pushes is None else self._push_after(saving)

    async def _push_after(self, saving: Awaitable[None]) -> None:
        await saving
        if self.exchange.pushes is not None:
            await self.exchange.pushes.release(has_snapshot=self._socket is not None)

    async def _save(self, *, force: bool) -> None:
        payload = self.last_state
        if self.is_revoked:
            return
        # While the client's own token may be valid, a snapshot of our own would take it from the
        # client: only an event of the client's may do that, and no group message.
        if payload is None or self._preserves_client_token or (self.is_saved and not force):
            return
        if self._socket is None:
            await self._fork_socket(payload, announce=True)
            return
        applied = self.replies.applied
        flow = self._saving(self._socket, payload, self._confirmed_us)
        try:
            with _SAVE:
                await self.manager.driver.arun(flow, "recovery.save")
        except (StorageError, StateTooLarge) as error:
            self._leave_dirty(error)
        except (TokenError, SnapshotError) as error:
            await self._go_on_alone(error, payload)
        else:
            self._note_saved(payload, applied)

    async def touch(self) -> None:
        """Extend the snapshot's life, and renew a token that has passed half of its maximum age."""
        if await self.end_if_revoked():
            return
        if self._socket is None and self._unrestored is not None:
            # The state waits for a fix of the application, as long as the page is open.
            await self.keep_alive()
        if self.last_state is None or (self._socket is None and not self._dirty):
            return
        if self._socket is None or self._dirty or not await self._touch(self._socket.grant):
            await self.save(force=True)
        if self._socket is not None and self._is_half_spent(self._socket.grant):
            await self.renew(self._binding)

    async def keep_alive(self) -> None:
        """Restart the time to live and change nothing else: may run beside any other call."""
        grant = self._unrestored if self._socket is None else self._socket.grant
        if grant is not None and not await self.end_if_revoked():
            with suppress(RecoveryError), _TOUCH:
                await self.manager.driver.arun(self.manager.operations.touch(grant))

    def rename(self, person: Person) -> None:
        """Change the person that the state belongs to, after a login or logout."""
        if person == self.person:
            return
        self.person = person
        self._metadata = self._metadata._replace(person=person.digest)
        # What is stored says that it is somebody else's.
        self._saved = None
        self._known_since_us = self.manager.operations.now_us()

    async def renew(self, binding: bytes) -> None:
        """Bind the snapshot to ``binding`` under a newer token, and announce that."""
        socket, before = self._socket, self._binding
        self._binding, self._pending_socket = binding, None
        if socket is None:
            return
        flow = self.manager.operations.renew(socket.grant, binding)
        try:
            with _RENEWAL:
                grant = await self.manager.driver.arun(flow)
        except StorageError as error:
            if binding != before:
                # Under the old token it would stay with whoever it was bound to.
                self._socket = None
            self._leave_dirty(error)
        except (TokenError, SnapshotError) as error:
            await self._go_on_alone(error, self.last_state or b"")
        else:
            self._socket = Socket(socket.id, grant)
            await self._announce_unless_revoked(grant)

    async def _touch(self, grant: Grant) -> bool:
        try:
            with _TOUCH:
                return await self.manager.driver.arun(self.manager.operations.touch(grant))
        except StorageError as error:
            self._leave_dirty(error)
            return True
        except RecoveryError:
            return False

    async def _fork_socket(self, payload: bytes, *, announce: bool = False) -> bool:
        """Store the state as the first snapshot of a new socket of this connection."""
        # An outage may last for many attempts: they are all for one socket.
        if self._pending_socket is None or self._is_half_spent(self._pending_socket.grant):
            self._pending_socket = Socket.begin(self.manager.operations, self._binding)
        socket, applied = self._pending_socket, self.replies.applied
        flow = self._saving(socket, payload, 0)
        try:
            with _SAVE:
                await self.manager.driver.arun(flow, "recovery.save")
        except RecoveryError as error:
            if not isinstance(error, StorageError):
                # A storage may refuse a new socket that has waited for long: the next try is anew.
                self._pending_socket = None
            self._leave_dirty(error)
            return False
        self._note_saved(payload, applied)
        self._socket, self._pending_socket = socket, None
        self._is_started_here = True
        self._replied_us = self._confirmed_us = 0
        if announce:
            await self._announce_unless_revoked(socket.grant)
        return True

    async def _go_on_alone(self, error: RecoveryError, payload: bytes) -> None:
        """Continue under a new socket id, unless the old one was revoked."""
        if isinstance(error, TokenSuperseded) and error.revoked:
            await self._end(error)
            return
        self._note_fenced(error)
        fenced_hash = self.socket_hash
        await self._fork_socket(payload, announce=True)
        note_fork(self, error, fenced_hash)

    async def _announce_unless_revoked(self, grant: Grant) -> None:
        # A token that was issued while the person was being revoked would take over later.
        if not await self.end_if_revoked():
            await self._announce(grant.token)

    async def end_if_revoked(self) -> bool:
        """Return whether the person was revoked; if so, the topic is closed."""
        if self.is_revoked or not self.person.markers:
            return self.is_revoked
        key = self._socket.grant.key if self._socket is not None else ""
        flow = check_person(self.person.markers, self._known_since_us, key)
        try:
            with _TOUCH:
                await self.manager.driver.arun(flow)
        except TokenSuperseded as error:
            await self._end(error)
        except RecoveryError as error:
            # The next touch looks again.
            logger.debug("A touch failed: %s", error, extra=self._facts("touch_failed", error))
        return self.is_revoked

    async def _end(self, error: RecoveryError) -> None:
        self.is_revoked = True
        note(self, "revocation", "page_closed")
        logger.info("A topic was closed: %s", error, extra=self._facts("revoked", error))
        await self._close()

    def _saving(self, socket: Socket, payload: bytes, confirmed_us: int) -> Flow[None]:
        return self.manager.operations.save_payload(
            socket.grant,
            payload,
            socket_id=socket.id,
            metadata=self._metadata,
            applied_seq=self.replies.applied or None,
            confirmed_us=confirmed_us,
            replies=self.exchange.pack(self.replies.pack()),
        )

    def _note_saved(self, payload: bytes, applied: int) -> None:
        self.exchange.note_saved()
        self._saved = payload
        if self._dirty:
            self._dirty = False
            if self._is_open:
                observers.state_safe()
        self.unsaved_error = None
        self.replies.safe = applied

    def _note_fenced(self, error: RecoveryError) -> None:
        observers.connection_fenced()
        logger.info("A connection was fenced: %s", error, extra=self._facts("fenced", error))

    def _leave_dirty(self, error: RecoveryError) -> None:
        if not self._dirty:
            # There may be thousands of these; the outage itself has a warning of its own.
            logger.info("A state couldn't be saved: %s", error, extra=self._facts("unsafe", error))
            if self._is_open:
                observers.state_unsafe()
        self._dirty = True
        self.unsaved_error = error.reason, describe_error(error)

    def _facts(self, event: str, error: RecoveryError) -> dict[str, Any]:
        return {
            "event": event,
            "outcome": self.outcome.value,
            "reason": error.reason,
            "socket_hash": error.socket_hash,
            "topic": self._metadata.topic,
        }

    def _is_half_spent(self, grant: Grant) -> bool:
        limit = self.manager.token_max_age
        return limit is not None and self.manager.operations.age_of(grant) > limit / 2
