"""Issuing and verifying tokens, and caching their sockets' ids while pages are open."""

from __future__ import annotations

import math
from typing import cast

from recovery_app._concurrency import LRUCache, timestamps_of
from recovery_app._core.persons import ANONYMOUS, Person, marker_key, name_user
from recovery_app._core.refusals import check_date
from recovery_app._core.sealing import Sealer
from recovery_app._core.tokens import Grant, TokenPayload, TokenSigner, hash_socket_id
from recovery_app.clock import MAX_AHEAD_US, MICROSECONDS, Clock, to_us
from recovery_app.fencing import Claim
from recovery_app.signals import observers
from recovery_app.snapshots import ANYONE

REMEMBERED_IDS = 5_000
REMEMBERED_GRANTS = 5_000


class TokenIssuer:
    """Issues and verifies tokens, and computes the names of persons for clients and snapshots."""

    def __init__(
        self,
        *,
        signer: TokenSigner,
        sealer: Sealer,
        token_max_age: float | None,
        clock: Clock,
    ) -> None:
        self._signer = signer
        self._sealer = sealer
        self._token_max_age = math.inf if token_max_age is None else token_max_age
        self._clock = clock
        self._timestamps = timestamps_of(clock)
        # In the same memory as the secret, and only what was verified or issued here; the age of
        # a token is checked each time.
        self._grants: LRUCache[tuple[object, bytes], Grant] = LRUCache(REMEMBERED_GRANTS)
        # Tokens carry only the hash of a socket id.
        self._socket_ids: LRUCache[str, str] = LRUCache(REMEMBERED_IDS)

    def now_us(self) -> int:
        """Return the time in microseconds, never the same twice from one process."""
        return self._timestamps.tick(to_us(self._clock()))

    def create(self, socket_id: str, binding: bytes) -> Grant:
        """Issue a token for a new socket."""
        observers.token_created()
        return self._issue(hash_socket_id(socket_id), self.now_us(), binding, socket_id)

    def person(self, name: bytes, user: bytes | None) -> Person:
        """Return the person that clients know by ``name``, and snapshots by the ``user``, if any.

        Only users can be revoked.
        """
        digests = self._signer.digest_person(user or name)
        digest = digests[0] if user or name != ANONYMOUS else ANYONE
        markers = tuple(map(marker_key, digests)) if user else ()
        return Person(self.owner_of(name), digest, markers)

    def owner_of(self, name: bytes) -> str:
        """Return the name of a person for clients."""
        return self._signer.owner_of(name)

    def digests_of_user(self, pk: object) -> list[bytes]:
        """Return the digests of a user in snapshots: one for each secret, newest first."""
        return self._signer.digest_person(name_user(pk))

    def verify(self, token: object, binding: bytes) -> Grant:
        """Verify a token, its signature before anything else; raise `TokenError`."""
        # An open page shows the same token with each event, mostly to the process that issued
        # it. What is of another type may be no key for a dictionary, or a false one.
        is_plain = type(token) is str and type(binding) is bytes
        grant = self._grants.get((token, binding)) if is_plain else None
        if grant is None:
            payload = self._signer.verify(token, binding)
            grant = self._grant(str.__str__(cast("str", token)), payload, binding)
        check_date(grant, self._clock(), self._token_max_age)
        return grant

    def bind(self, grant: Grant, binding: bytes) -> Grant:
        """Return the grant for a snapshot that has another binding than the token."""
        return grant.bound_to(binding, self._sealer.digest_binding(grant.key, binding))

    def adopt_digest(self, grant: Grant, digest: bytes) -> bool:
        """Have the grant use a snapshot's digest; return false if it is of another binding."""
        return self._sealer.adopt_digest(grant, digest)

    def age_of(self, grant: Grant) -> float:
        """Return the seconds since a token was issued."""
        return self._clock() - grant.claim.issued_us / MICROSECONDS

    def find_socket_id(self, key: str) -> str | None:
        """Return the socket id with this hash, if this process has seen it."""
        return self._socket_ids.get(key)

    def _issue(
        self, socket_hash: bytes, issued_us: int, binding: bytes, socket_id: str | None
    ) -> Grant:
        payload = TokenPayload(socket_hash, issued_us)
        grant = self._grant(self._signer.sign(payload, binding), payload, binding)
        if socket_id is not None:
            self._remember(grant, socket_id)
        return grant

    def _grant(self, token: str, payload: TokenPayload, binding: bytes) -> Grant:
        socket_hash, issued_us = payload
        binding = bytes(binding)
        key = socket_hash.hex()
        claim = Claim(issued_us, self._sealer.digest_binding(key, binding))
        starts_at = (issued_us - MAX_AHEAD_US) / MICROSECONDS
        expires_at = issued_us / MICROSECONDS + self._token_max_age
        grant = Grant(token, key, socket_hash, binding, claim, starts_at, expires_at)
        self._grants.put((token, binding), grant)
        return grant

    def _remember(self, grant: Grant, socket_id: str) -> None:
        if socket_id != grant.key:
            grant.socket_id = socket_id
            self._socket_ids.put(grant.key, socket_id)
