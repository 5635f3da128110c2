"""Fenced steps on a snapshot whose digest of the binding may differ from the expected one.

The digest changes with ``SECRET`` and ``SEAL``, and a node with other settings may have written
it last. So if a storage reports another binding, the stored digest is compared with the other
digests of the same binding, and the step is made again.
"""

from __future__ import annotations

from typing import Any

from recovery_app._core.driver import Flow
from recovery_app._core.sealing import Sealer
from recovery_app._core.tokens import Grant
from recovery_app.fencing import Decision, Verdict
from recovery_app.snapshots import read_fencing


def fenced_step(
    sealer: Sealer, grant: Grant, ttl: float, call: tuple[str, str], options: dict[str, Any]
) -> Flow[Any]:
    """Make a fenced step with the grant's claim; return what the storage's method returns.

    ``call`` is the name to report the step under, and the method.
    """
    operation, method = call
    found = yield operation, method, (grant.key, grant.claim, ttl), options
    is_decision = isinstance(found, Decision)
    if (found.verdict if is_decision else found) is not Verdict.BINDING_MISMATCH:
        return found
    stored = found.data if is_decision else None
    if not (yield from adopt_stored_digest(sealer, grant, stored)):
        return found
    # Error trackers record the variables of the frames that a storage's error passes.
    del found, stored
    return (yield operation, method, (grant.key, grant.claim, ttl), options)


def adopt_stored_digest(sealer: Sealer, grant: Grant, stored: bytes | None = None) -> Flow[bool]:
    """Have the grant use the digest of the stored snapshot, which is loaded unless given.

    Return false if that is the digest of another binding.
    """
    if stored is None:
        stored = yield "load", "load", (grant.key,), {}
    fencing = None if stored is None else read_fencing(stored)
    return fencing is not None and sealer.adopt_digest(grant, fencing[2])
