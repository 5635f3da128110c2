"""The steps of `MigratingStorage`, each of which calls the two storages, as flows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from recovery_app.clock import MAX_AHEAD_US, MICROSECONDS
from recovery_app.exceptions import SnapshotError
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    check_fence_date,
    decide_renewal,
    decide_revocation,
    decide_save,
    decide_takeover,
    decide_touch,
)
from recovery_app.snapshots import Header, is_marker
from recovery_app.storages.base import Entry
from recovery_app.storages.migrating.finding import Found
from recovery_app.storages.migrating.flows import Flow, call
from recovery_app.storages.migrating.moving import Moves
from recovery_app.storages.migrating.tombstones import read_held

LONGEST_SECONDS = MAX_AHEAD_US / MICROSECONDS
"""The lifetime of a copied marker whose own isn't known: as long as a token's by default."""
Decide: TypeAlias = "Callable[[bytes | None], Decision]"


class Steps(Moves):
    """The methods of a storage over two others."""

    # Plain bytes. The snapshots of sockets are saved by fenced steps; what is saved here are the
    # markers of revoked persons, and the snapshots of health checks.

    def save(self, key: str, data: bytes, ttl: float) -> Flow[None]:
        """Store bytes; a marker also in the old storage, for processes that know only that."""
        yield from call(self.new, "save", key, data, ttl)
        if is_marker(data):
            yield from call(self.old, "save", key, data, ttl)
        else:
            yield from call(self.old, "delete", key)

    def load(self, key: str) -> Flow[bytes | None]:
        """Return the data that counts. A marker is copied, as the old storage will be removed."""
        found = yield from self.look(key)
        if found.is_in_old and found.old.data is not None and is_marker(found.old.data):
            entry: Entry | None = yield from call(self.old, "look_up", key)
            seconds = math.nan if entry is None else entry.expires_in
            ttl = seconds if 0 < seconds < math.inf else LONGEST_SECONDS
            yield from call(self.new, "save_fenced", key, found.old.data, ttl)
        return found.data

    def delete(self, key: str) -> Flow[bool]:
        """Remove the data of both; of the old one first, or it would count again."""
        old = read_held((yield from call(self.old, "load", key)))
        yield from call(self.old, "delete", key)
        stored = yield from call(self.new, "load", key)
        was_there: bool = yield from call(self.new, "delete", key)
        return old.data is not None or (was_there and read_held(stored).data is not None)

    # The fenced steps.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Flow[Verdict]:
        """Save into the new storage."""
        now_us = self.now_us()
        found = yield from self.look(key, is_new=True)
        decide = partial(decide_save, data=data, now_us=now_us)
        refused = yield from self._prepare(found, key, ttl, now_us, decide)
        if refused is not None:
            return refused.verdict
        verdict: Verdict = yield from call(self.new, "save_fenced", key, data, ttl)
        if verdict is Verdict.DONE and found.is_old_known and not self.is_settled(key):
            if found.old.is_moved:
                self.settle(key)
            else:
                yield from self.plant(key, Header.read(data).binding, ttl)
        return verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Flow[Verdict]:
        """Touch in the new storage, and the tombstone in the old one."""
        now_us = self.now_us()
        if not self.is_settled(key):
            found = yield from self.look(key)
            decide = partial(decide_touch, claim=claim, now_us=now_us)
            refused = yield from self._prepare(found, key, ttl, now_us, decide)
            if refused is not None:
                return refused.verdict
        verdict: Verdict = yield from call(self.new, "touch_fenced", key, claim, ttl)
        if verdict is Verdict.DONE and (yield from self.guard(key, claim, ttl)):
            yield from call(self.new, "revoke", key, claim, ttl, now_us=now_us)
            return Verdict.REVOKED
        return verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Flow[Decision]:
        """Take over in the new storage, after moving the snapshot if necessary."""
        found = yield from self.look(key)
        decide = partial(decide_takeover, claim=claim, now_us=now_us, newest_version=newest_version)
        times = {"now_us": now_us, "newest_version": newest_version}
        return (
            yield from self._deciding(found, key, claim, ttl, decide, ("take_over", now_us, times))
        )

    def renew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Flow[Decision]:
        """Renew in the new storage; the tombstone gets the new binding too."""
        found = yield from self.look(key)
        decide = partial(decide_renewal, claim=claim, now_us=now_us, binding=binding)
        facts = {"now_us": now_us, "binding": binding}
        return (yield from self._deciding(found, key, claim, ttl, decide, ("renew", now_us, facts)))

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Flow[Verdict]:
        """Put the marker into both storages; after an error, it may be in only one."""
        found = yield from self.look(key)
        decide = partial(decide_revocation, claim=claim, now_us=now_us)
        is_fixed = found.is_in_old and _is_fixed(found.old.data or b"", now_us)
        if is_fixed:
            verdict: Verdict = yield from call(self.old, "revoke", key, claim, ttl, now_us=now_us)
            others = self.old, self.new
        else:
            refused = yield from self._prepare(found, key, ttl, now_us, decide)
            if refused is not None:
                return refused.verdict
            verdict = yield from call(self.new, "revoke", key, claim, ttl, now_us=now_us)
            others = self.new, self.old
        if verdict is Verdict.DONE:
            source, target = others
            marker = yield from call(source, "load", key)
            if marker is not None:
                yield from call(target, "save", key, marker, ttl)
        return verdict

    def _deciding(
        self,
        found: Found,
        key: str,
        claim: Claim,
        ttl: float,
        decide: Decide,
        method: tuple[str, int, dict[str, Any]],
    ) -> Flow[Decision]:
        name, now_us, options = method
        refused = yield from self._prepare(found, key, ttl, now_us, decide)
        if refused is not None:
            return refused
        decision: Decision = yield from call(self.new, name, key, claim, ttl, **options)
        if decision.verdict is Verdict.DONE and found.is_old_known:
            binding = Header.read(decision.data or b"").binding
            yield from self.plant(key, binding, ttl)
        return decision

    def _prepare(
        self, found: Found, key: str, ttl: float, now_us: int, decide: Decide
    ) -> Flow[Decision | None]:
        """Move the snapshot if necessary; return why the step is refused, if it is.

        A refused step moves nothing: a stale token doesn't disturb the connection with a newer one.
        """
        if found.is_in_old:
            decision = decide(found.old.data)
            if decision.verdict is not Verdict.DONE:
                return decision
            if _is_fixed(found.old.data or b"", now_us):
                # A newer token may start again after a revocation.
                yield from call(self.new, "save_fenced", key, found.old.data, ttl)
            else:
                yield from self.bring(key, ttl, now_us, found)
        elif found.new.is_moved and not (yield from self.bring(key, ttl, now_us, found)):
            decision = decide(None)
            return None if decision.verdict is Verdict.DONE else decision
        return None


def _is_fixed(data: bytes, now_us: int) -> bool:
    """Return whether data isn't moved: a marker, or data that can't be read here."""
    try:
        header = Header.read(data)
        check_fence_date(header, now_us)
    except SnapshotError:
        return True
    return header.revoked
