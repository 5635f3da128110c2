"""Takeovers with tokens for what a person was known by before: they are bound anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from recovery_app._core.driver import Flow
from recovery_app._core.operations import Operations
from recovery_app._core.persons import Person
from recovery_app._core.tokens import Grant
from recovery_app.exceptions import InvalidSignature, TokenSuperseded
from recovery_app.values import Takeover

MAX_ATTEMPTS = 3


def take_over_as(
    operations: Operations,
    token: object,
    binding: bytes,
    fallbacks: Sequence[bytes],
    newest_version: int | None,
    person: Person | None = None,
) -> Flow[tuple[Takeover, Grant]]:
    """Take over with a token for ``binding``, or for one of ``fallbacks``, which is renewed.

    In the end both snapshot and new token are bound to ``binding``.
    """
    grant = _verify(operations, token, (binding, *fallbacks))
    target = None if grant.binding == binding else operations.bind(grant, binding)
    # Error trackers record the variables of the frames that a storage's error passes.
    del token, binding, fallbacks
    if target is None:
        return (yield from operations.take_over_granted(grant, newest_version, person))
    return (yield from _rebind(operations, grant, target, newest_version, person))


def _verify(operations: Operations, token: object, bindings: tuple[bytes, ...]) -> Grant:
    """Return the token verified for the first of the bindings that it is valid for."""
    for binding in bindings[:-1]:
        with suppress(InvalidSignature):
            return operations.verify(token, binding)
    return operations.verify(token, bindings[-1])


def _rebind(
    operations: Operations,
    grant: Grant,
    target: Grant,
    newest_version: int | None,
    person: Person | None,
) -> Flow[tuple[Takeover, Grant]]:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            takeover, following = yield from operations.take_over_granted(
                grant, newest_version, person
            )
        except InvalidSignature:
            # The token is genuine: its signature was verified. An earlier join may have bound the
            # snapshot to this very person already, with a reply that never arrived.
            return (yield from operations.take_over_granted(target, newest_version, person))
        try:
            renewed = yield from operations.renew(following, target.binding)
        except TokenSuperseded as error:
            # Another connection has taken over with the same token, between the two steps.
            if error.revoked or attempt == MAX_ATTEMPTS:
                raise
        else:
            break
    return replace(takeover, token=renewed.token, issued_us=renewed.issued_us), renewed
