"""The operations of the manager, each written once and without I/O.

An operation is a generator (`recovery_app._core.driver.Flow`): it yields the storage calls that
it needs, and the driver sends back what they return. Blocking and asynchronous code share it.

When a storage raises, no variable of an operation holds a token, a binding or a state: error
trackers would record it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from recovery_app._core.cleanup import CleanupThread
from recovery_app._core.driver import Flow
from recovery_app._core.encryption import MessageSealer
from recovery_app._core.fenced_steps import adopt_stored_digest, fenced_step
from recovery_app._core.issuing import TokenIssuer
from recovery_app._core.metadata import SnapshotMetadata, check_number
from recovery_app._core.notifier import Recovered
from recovery_app._core.persons import (
    Person,
    check_person,
    marker_key,
    markers_for,
    revoke_person,
)
from recovery_app._core.refusals import check_date, refusal
from recovery_app._core.sealing import Sealer
from recovery_app._core.state_codec import StateCodec
from recovery_app._core.tokens import Grant, TokenSigner, hash_socket_id
from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import RecoveryError, SnapshotError, TokenError
from recovery_app.fencing import Decision, Verdict, check_fence_date, refuse
from recovery_app.signals import observers
from recovery_app.snapshots import (
    MAX_SEQ,
    Header,
    Snapshot,
    encode_head,
    replace_binding,
    socket_id_in,
)
from recovery_app.values import Takeover


class Operations(TokenIssuer):
    """Turns the manager's calls into storage calls."""

    def __init__(
        self,
        *,
        signer: TokenSigner,
        sealer: Sealer,
        codec: StateCodec,
        ttl: float,
        token_max_age: float | None,
        clock: Clock,
        messages: MessageSealer,
        cleanup: CleanupThread | None = None,
    ) -> None:
        super().__init__(signer=signer, sealer=sealer, token_max_age=token_max_age, clock=clock)
        self.codec = codec
        self.messages = messages
        self._ttl = ttl
        self._cleanup = cleanup

    def save(
        self,
        token: str,
        state: Mapping[str, Any],
        *,
        binding: bytes,
        applied_seq: int | None,
        metadata: SnapshotMetadata,
    ) -> Flow[None]:
        """Store a state."""
        if applied_seq is not None:
            check_number("applied_seq", applied_seq, MAX_SEQ)
        grant = self.verify(token, binding)
        try:
            payload = self.codec.encode(state)
        except RecoveryError as error:
            error.socket_hash = grant.key
            raise
        del token, binding, state
        socket_id = grant.socket_id or self._socket_ids.get(grant.key)
        if socket_id is None:
            try:
                data = yield "load", "load", (grant.key,), {}
            except Exception:
                del payload
                raise
            socket_id = socket_id_in(data or b"")
            del data
            if hash_socket_id(socket_id) != grant.socket_hash:
                # The hash itself stands in until a process that knows the id has saved.
                socket_id = grant.key
            self._remember(grant, socket_id)
        flow = self.save_payload(
            grant, payload, socket_id=socket_id, metadata=metadata, applied_seq=applied_seq
        )
        del payload
        yield from flow

    def save_payload(
        self,
        grant: Grant,
        payload: bytes,
        *,
        socket_id: str,
        metadata: SnapshotMetadata,
        applied_seq: int | None = None,
        confirmed_us: int | None = None,
        replies: bytes = b"",
    ) -> Flow[None]:
        """Store a state that is serialized already, with the token's timestamp as the fence.

        ``confirmed_us`` is the timestamp of the newest token that the client has shown to have
        (``None``: of this one); older ones can't take over from then on. ``replies`` are those
        to the last events, as `recovery_app._live.replies` packs them.
        """
        now = self._clock()
        check_date(grant, now, self._token_max_age)
        issued_us = grant.claim.issued_us
        head = encode_head(
            issued_us,
            issued_us if confirmed_us is None else min(confirmed_us, issued_us),
            grant.claim.binding,
            now_us=round(now * MICROSECONDS),
            version=metadata.version,
            applied_seq=applied_seq,
            texts=(socket_id, metadata.view, metadata.topic, self.codec.name),
            replies_bytes=0 if self._sealer.flags else len(replies),
            person=metadata.person,
            flags=self._sealer.flags,
        )
        data = self._sealer.finish(grant.key, head, replies, payload)
        size_bytes = len(payload)
        try:
            verdict = yield "save", "save_fenced", (grant.key, data, self._ttl), {}
            if verdict is Verdict.BINDING_MISMATCH and (
                yield from adopt_stored_digest(self._sealer, grant)
            ):
                data = replace_binding(data, grant.claim.binding)
                verdict = yield "save", "save_fenced", (grant.key, data, self._ttl), {}
        finally:
            del payload, replies, data
        if verdict is not Verdict.DONE:
            raise self._refusal(grant, verdict)
        observers.state_saved(size_bytes)
        if self._cleanup is not None:
            self._cleanup.start()

    def recover(self, token: object, binding: bytes) -> Flow[Recovered]:
        """Read a state, without changing anything."""
        grant = self.verify(token, binding)
        del token, binding
        data: bytes | None = yield "load", "load", (grant.key,), {}
        if data is None:
            raise self._refusal(grant, Verdict.NOT_FOUND)
        try:
            snapshot = Snapshot.from_bytes(data)
            header = snapshot.header
            check_fence_date(header, to_us(self._clock()))
            self.adopt_digest(grant, header.binding)
            verdict = refuse(header, grant.claim, by_floor=True)
            if verdict is not None or header.revoked:
                raise self._refusal(grant, verdict or Verdict.NOT_FOUND)
            state = self.read_state(snapshot, grant.key, data, grant.binding)
        except RecoveryError as error:
            error.socket_hash = grant.key
            raise
        if grant.socket_id is None:
            self._remember(grant, snapshot.socket_id)
        return Recovered(state, snapshot.socket_id, header.applied_seq, header.version)

    def take_over(
        self, token: object, binding: bytes, newest_version: int | None
    ) -> Flow[tuple[Takeover, Grant]]:
        """Continue a socket on a new connection, under a new token."""
        grant = self.verify(token, binding)
        del token, binding
        return (yield from self.take_over_granted(grant, newest_version))

    def take_over_granted(
        self,
        grant: Grant,
        newest_version: int | None,
        person: Person | None = None,
        *,
        is_own: bool = True,
    ) -> Flow[tuple[Takeover, Grant]]:
        """Do the same with a token that is already verified.

        ``person`` is the person who sent it, ``None`` for the snapshot's own; ``is_own`` says
        whether it was issued to their current identity.
        """
        options = {"now_us": self.now_us(), "newest_version": newest_version}
        decision: Decision = yield from self._step(grant, "takeover", "take_over", options)
        if decision.verdict is not Verdict.DONE:
            raise self._refusal(grant, decision.verdict, decision.data, newest_version)
        try:
            takeover, following, digest, is_outdated = self._read_takeover(
                grant, decision.data or b""
            )
        except RecoveryError as error:
            error.socket_hash = grant.key
            raise
        del decision
        # After the takeover: of two that meet, the revocation finds the token that was shown.
        markers = markers_for(person, digest, is_own=is_own)
        yield from check_person(markers, grant.issued_us, grant.key)
        observers.token_created()
        if not is_outdated:
            return takeover, following
        # Another connection may take over in between. This one then learns of it as ever.
        with suppress(TokenError, SnapshotError):
            following = yield from self.renew(following, None, is_outdated=True)
        return replace(takeover, token=following.token, issued_us=following.issued_us), following

    def _read_takeover(self, grant: Grant, data: bytes) -> tuple[Takeover, Grant, bytes, bool]:
        """Return also the person, and whether the digest of the binding is outdated."""
        snapshot = Snapshot.from_bytes(data)
        state = self.read_state(snapshot, grant.key, data, grant.binding)
        header = snapshot.header
        following = self._issue(grant.socket_hash, header.fence, grant.binding, snapshot.socket_id)
        is_outdated = self._sealer.is_outdated(header, following.claim.binding)
        following.claim.binding = header.binding
        takeover = Takeover(
            state=state,
            socket_id=snapshot.socket_id,
            token=following.token,
            applied_seq=header.applied_seq,
            version=header.version,
            view=snapshot.view,
            topic=snapshot.topic,
            issued_us=header.fence,
            shown_us=grant.claim.issued_us,
            payload=snapshot.state if snapshot.serializer == self.codec.name else None,
            replies=snapshot.replies,
            saved_us=header.saved_us,
        )
        return takeover, following, snapshot.person, is_outdated

    def revoke_user(self, pk: object) -> Flow[None]:
        """Refuse every token that was issued to a user so far."""
        # Then the last snapshot has expired, and nobody shows a token that counts.
        limit = 0 if math.isinf(self._token_max_age) else self._token_max_age
        ttl_seconds = max(2 * self._ttl, limit)
        markers = [marker_key(digest) for digest in self.digests_of_user(pk)]
        return revoke_person(markers, now_us=self.now_us, ttl_seconds=ttl_seconds)

    def touch(self, grant: Grant) -> Flow[bool]:
        """Restart the time to live; return whether there was a snapshot."""
        check_date(grant, self._clock(), self._token_max_age)
        verdict = yield from self._step(grant, "touch", "touch_fenced", {})
        if verdict in (Verdict.DONE, Verdict.NOT_FOUND):
            return verdict is Verdict.DONE
        raise self._refusal(grant, verdict)

    def revoke(self, grant: Grant) -> Flow[None]:
        """Replace the snapshot with a marker, which refuses every token issued so far."""
        options = {"now_us": self.now_us()}
        verdict = yield from self._step(grant, "revocation", "revoke", options)
        if verdict is not Verdict.DONE:
            raise self._refusal(grant, verdict)

    def renew(
        self, grant: Grant, new_binding: bytes | None, *, is_outdated: bool = False
    ) -> Flow[Grant]:
        """Issue a newer token for the same connection, bound to ``new_binding`` if given.

        ``is_outdated`` says that the snapshot gets the newest kind of digest in any case.
        """
        check_date(grant, self._clock(), self._token_max_age)
        binding = grant.binding if new_binding is None else bytes(new_binding)
        digest = self._sealer.digest_anew(grant, binding, is_outdated=is_outdated)
        options = {"now_us": self.now_us(), "binding": digest}
        del new_binding
        try:
            decision: Decision = yield from self._step(grant, "renewal", "renew", options)
        except Exception:
            del binding
            raise
        if decision.verdict is not Verdict.DONE:
            raise self._refusal(grant, decision.verdict, decision.data)
        fence = Header.read(decision.data or b"").fence
        observers.token_created()
        renewed = self._issue(grant.socket_hash, fence, binding, grant.socket_id)
        renewed.claim.binding = digest
        return renewed

    def read_state(
        self, snapshot: Snapshot, key: str, data: bytes, binding: bytes | None = None
    ) -> dict[str, Any]:
        """Return the state of a snapshot after verifying its seal.

        ``data`` are its bytes; ``binding`` is that of the token, if there is one. Afterwards
        ``snapshot`` has the decrypted replies and state.
        """
        self._sealer.unseal(snapshot, key, data, binding)
        return self.codec.decode(snapshot.state, snapshot.serializer)

    def _step(
        self, grant: Grant, operation: str, method: str, options: dict[str, Any]
    ) -> Flow[Any]:
        return fenced_step(self._sealer, grant, self._ttl, (operation, method), options)

    def _refusal(
        self, grant: Grant, verdict: Verdict, data: bytes | None = None, newest: int | None = None
    ) -> RecoveryError:
        now = self._clock()
        return refusal(grant, verdict, now=now, ttl=self._ttl, data=data, newest=newest)
