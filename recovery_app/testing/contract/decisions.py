"""Contract tests that compare each fenced step with the functions of `recovery_app.fencing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from recovery_app.clock import MAX_AHEAD_US
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_renewal,
    decide_revocation,
    decide_save,
    decide_takeover,
    decide_touch,
)
from recovery_app.snapshots import Header, digest_binding, revoked_marker
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import (
    OWNER,
    STRANGER,
    ContractBase,
    claim_of,
    snapshot_bytes,
)

NOW_US = 25
DAY_AHEAD_US = NOW_US + MAX_AHEAD_US
MAD_US = 2**61
"""The time of a clock that is far ahead."""


def marker_bytes(fence: int) -> bytes:
    """Return the marker of a revocation."""
    return revoked_marker(Header(fence=fence, floor=fence, binding=digest_binding(OWNER)))


SNAPSHOT: dict[str, bytes | None] = {
    "a snapshot": snapshot_bytes(20, b"state", floor=10, version=2, applied_seq=4, created_us=5),
}
STORED: dict[str, bytes | None] = {
    **SNAPSHOT,
    "nothing": None,
    "a stranger's snapshot": snapshot_bytes(20, floor=10, binding=STRANGER),
    "a marker": marker_bytes(20),
    "no bytes": b"",
    "a header that is cut short": b"RS\x01 cut",
    "a newer format": b"RS\x03" + snapshot_bytes(20, floor=10)[3:],
    # A day ahead of the time of takeovers here, which counts, and later, which is broken.
    "a fence a day ahead": snapshot_bytes(DAY_AHEAD_US, b"state", floor=10),
    "a fence more than a day ahead": snapshot_bytes(DAY_AHEAD_US + 1, b"state", floor=10),
    "a fence years ahead": snapshot_bytes(MAD_US, b"state", floor=10),
    "a floor years ahead": snapshot_bytes(20, b"state", floor=MAD_US),
    "a marker years ahead": marker_bytes(MAD_US),
}
TIMESTAMPS = (9, 10, 19, 20, 30)
"""Below and at the floor, below and at the fence, and above both."""
CLAIMS = [*map(claim_of, TIMESTAMPS), claim_of(30, STRANGER), claim_of(MAD_US + 5)]
# Below, between and above the timestamps; at one of them; and far ahead.
TIMES = (3, 30, MAD_US)
TIMES_NOW: dict[str, Any] = {"now_us": NOW_US, "newest_version": None}


class DecisionTests(ContractBase):
    """A fenced step returns the verdict and leaves the bytes that the rules prescribe."""

    def test_save_fenced_decides_by_the_rules(self, variant: Storage) -> None:
        for data in self._new_snapshots():

            def step(key: str, data: bytes = data) -> Verdict:
                return variant.save_fenced(key, data, self.ttl_seconds)

            self._compare(variant, partial(decide_save, data=data), step)

    def test_touch_fenced_decides_by_the_rules(self, variant: Storage) -> None:
        for claim in CLAIMS:

            def step(key: str, claim: Claim = claim) -> Verdict:
                return variant.touch_fenced(key, claim, self.ttl_seconds)

            self._compare(variant, partial(decide_touch, claim=claim), step)

    def test_take_over_decides_by_the_rules(self, variant: Storage) -> None:
        for claim, times in self._takeovers():

            def step(key: str, claim: Claim = claim, times: dict[str, Any] = times) -> Decision:
                return variant.take_over(key, claim, self.ttl_seconds, **times)

            stored = STORED if times == TIMES_NOW else SNAPSHOT
            self._compare(variant, partial(decide_takeover, claim=claim, **times), step, stored)

    def test_renew_decides_by_the_rules(self, variant: Storage) -> None:
        for claim, facts in self._renewals():

            def step(key: str, claim: Claim = claim, facts: dict[str, Any] = facts) -> Decision:
                return variant.renew(key, claim, self.ttl_seconds, **facts)

            stored = STORED if facts["now_us"] == NOW_US else SNAPSHOT
            self._compare(variant, partial(decide_renewal, claim=claim, **facts), step, stored)

    def test_revoke_decides_by_the_rules(self, variant: Storage) -> None:
        for claim, now_us in [*((claim, NOW_US) for claim in CLAIMS), (CLAIMS[3], MAD_US)]:

            def step(key: str, claim: Claim = claim, now_us: int = now_us) -> Verdict:
                return variant.revoke(key, claim, self.ttl_seconds, now_us=now_us)

            self._compare(variant, partial(decide_revocation, claim=claim, now_us=now_us), step)

    def _new_snapshots(self) -> Iterator[bytes]:
        for issued_us in TIMESTAMPS:
            yield snapshot_bytes(issued_us, b"new", created_us=7, saved_us=8)
        yield snapshot_bytes(MAD_US + 5, b"new", created_us=7)
        yield snapshot_bytes(30, b"new", floor=5, created_us=7)
        yield snapshot_bytes(30, b"new", binding=STRANGER)

    def _takeovers(self) -> Iterator[tuple[Claim, dict[str, Any]]]:
        for claim in CLAIMS:
            yield claim, TIMES_NOW
        for now_us in TIMES:
            yield CLAIMS[-3], {"now_us": now_us, "newest_version": None}
        for newest in (0, 1, 2, 3):
            yield CLAIMS[3], {"now_us": NOW_US, "newest_version": newest}

    def _renewals(self) -> Iterator[tuple[Claim, dict[str, Any]]]:
        for claim in CLAIMS:
            yield claim, {"now_us": NOW_US, "binding": claim.binding}
        for now_us in TIMES:
            yield CLAIMS[-3], {"now_us": now_us, "binding": digest_binding(STRANGER)}

    def _compare(
        self,
        variant: Storage,
        decide: partial[Decision],
        step: Callable[[str], Decision | Verdict],
        all_stored: Mapping[str, bytes | None] = STORED,
    ) -> None:
        for number, (name, stored) in enumerate(all_stored.items()):
            key = f"{number:016x}"
            if stored is None:
                variant.delete(key)
            else:
                variant.save(key, stored, self.ttl_seconds)
            expected, found = decide(stored), step(key)
            where = f"{decide.func.__name__} on {name}: {decide.keywords}"
            if isinstance(found, Decision):
                # Of a refusal the bytes may be left out, unless the caller needs them.
                is_needed = expected.verdict in (Verdict.DONE, Verdict.VERSION_TOO_NEW)
                assert found.data == expected.data or (found.data is None and not is_needed), where
                found = found.verdict
            assert found is expected.verdict, where
            is_written = expected.verdict is Verdict.DONE and expected.data is not None
            assert variant.load(key) == (expected.data if is_written else stored), where
