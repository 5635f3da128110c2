"""Takeovers by joins, including those with tokens of earlier identities and older tokens.

The token in a page that was rendered over HTTP (`recovery_app.start_state`) has a separate binding,
for the first join. That join's takeover binds the snapshot like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from recovery_app._core.copying import copy_state
from recovery_app._core.driver import Flow
from recovery_app._core.operations import Operations
from recovery_app._core.persons import Person, check_person, combine, markers_for
from recovery_app._core.tokens import Grant
from recovery_app.exceptions import InvalidSignature, TokenSuperseded
from recovery_app.values import Takeover

MAX_ATTEMPTS = 3
_FIRST_JOIN = combine("first join")


def bind_to_first_join(binding: bytes) -> bytes:
    """Return the binding of a token that is valid only for the first join of a page."""
    return binding + _FIRST_JOIN


def verify_any(
    operations: Operations, token: object, bindings: Sequence[bytes]
) -> tuple[Grant, int]:
    """Return the verified token, and the first of the bindings that it is valid for.

    Raises the errors of ``operations.verify`` for the last of them.
    """
    last = len(bindings) - 1
    for index, binding in enumerate(bindings[:-1]):
        with suppress(InvalidSignature):
            return operations.verify(token, binding), index
    return operations.verify(token, bindings[last]), last


def take_over_as(
    operations: Operations,
    grant: Grant,
    target: Grant,
    newest_version: int | None,
    person: Person,
    copy_id: str | None,
) -> Flow[tuple[Takeover, Grant, bool]]:
    """Take over with a verified token, whose binding may be an earlier one.

    ``target`` is the same token for the binding that snapshot and new token get; it may be
    ``grant``. With a token that a newer connection has superseded, the result is a copy of the
    state for a new socket called ``copy_id``, which the caller has to store; without ``copy_id``,
    it is refused. The last value says whether it is a copy.
    """
    try:
        if target is grant:
            taken = yield from operations.take_over_granted(grant, newest_version, person)
        else:
            taken = yield from _rebind(operations, grant, target, newest_version, person)
    except TokenSuperseded as error:
        if error.revoked or copy_id is None:
            raise
    else:
        return (*taken, False)
    takeover, following, digest = yield from copy_state(
        operations, grant, target, newest_version, copy_id
    )
    markers = markers_for(person, digest, is_own=target is grant)
    yield from check_person(markers, grant.issued_us, grant.key)
    return takeover, following, True


def _rebind(
    operations: Operations,
    grant: Grant,
    target: Grant,
    newest_version: int | None,
    person: Person,
) -> Flow[tuple[Takeover, Grant]]:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            takeover, following = yield from operations.take_over_granted(
                grant, newest_version, person, is_own=False
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
