"""The request for each call of the storage."""

from __future__ import annotations

import struct
import time
from typing import Any

from recovery_app.clock import MAX_AHEAD_US, Clock, to_us
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_revocation,
    latest_date,
)
from recovery_app.snapshots import HEADER_BYTES, READABLE, Header
from recovery_app.storages.redis import script
from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.requests import EVALSHA, GET, CommandSpec, Request
from recovery_app.storages.redis.script import ANY_VERSION, INSTRUCTION

_FENCE_AND_BINDING = struct.Struct(">8xQ32x16s")


def _nothing(_reply: Any) -> None:
    """Return nothing, whatever the reply."""


LOAD = CommandSpec(name=GET, operation="load", writes=False)
TIME_LEFT = CommandSpec(name="PTTL", operation="load", writes=False)
SAVE = CommandSpec(name="SET", operation="save", read=_nothing)
DELETE = CommandSpec(name="DEL", operation="delete", read=bool)
SAVE_FENCED = CommandSpec(name=EVALSHA, operation="save", read=script.read_verdict)
TOUCH = CommandSpec(name=EVALSHA, operation="touch", read=script.read_verdict)
TAKE_OVER = CommandSpec(name=EVALSHA, operation="takeover", read=script.read_decision)
# Sent twice, the second would find the binding that the first has set.
RENEW = CommandSpec(name=EVALSHA, operation="renewal", read=script.read_decision, repeatable=False)
REVOKE = CommandSpec(name=EVALSHA, operation="revocation", read=script.read_verdict)


class RequestFactory:
    """Builds requests; ``ttl`` is in seconds."""

    def __init__(self, keys: Keys, clock: Clock = time.time) -> None:
        self._encode = keys.encode
        self._clock = clock

    def load(self, key: str) -> Request[bytes | None]:
        return Request(LOAD, self._encode(key))

    def time_left(self, key: str) -> Request[int]:
        return Request(TIME_LEFT, self._encode(key))

    def save(self, key: str, data: bytes, ttl: float) -> Request[None]:
        return Request(SAVE, self._encode(key), (data, "PX", to_ms(ttl)), len(data))

    def delete(self, key: str) -> Request[bool]:
        return Request(DELETE, self._encode(key))

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Request[Verdict]:
        """Return the request to store a snapshot; raise `SnapshotCorrupt`.

        Its fence is its token's timestamp.
        """
        size_bytes = len(data)
        if size_bytes < HEADER_BYTES or not data.startswith(READABLE):
            Header.read(data)
        fence, binding = _FENCE_AND_BINDING.unpack_from(data)
        instruction = INSTRUCTION.pack(
            script.SAVE, to_ms(ttl), fence, 0, binding, ANY_VERSION, self._latest_us()
        )
        return Request(SAVE_FENCED, self._encode(key), (instruction, data), size_bytes)

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Request[Verdict]:
        instruction = _instruction(script.TOUCH, claim, ttl, latest_us=self._latest_us())
        return Request(TOUCH, self._encode(key), (instruction, b""))

    def take_over(
        self, key: str, claim: Claim, ttl: float, now_us: int, newest_version: int | None
    ) -> Request[Decision]:
        newest = ANY_VERSION if newest_version is None else newest_version
        instruction = _instruction(script.TAKE_OVER, claim, ttl, now_us, newest)
        return Request(TAKE_OVER, self._encode(key), (instruction, b""))

    def renew(
        self, key: str, claim: Claim, ttl: float, now_us: int, binding: bytes
    ) -> Request[Decision]:
        instruction = _instruction(script.RENEW, claim, ttl, now_us)
        return Request(RENEW, self._encode(key), (instruction, binding))

    def revoke(self, key: str, claim: Claim, ttl: float, now_us: int) -> Request[Verdict]:
        """Return the request for a marker, whose fence the script raises above the stored one."""
        marker = decide_revocation(None, claim, now_us=now_us).data or b""
        instruction = _instruction(script.REVOKE, claim, ttl, now_us)
        return Request(REVOKE, self._encode(key), (instruction, marker))

    def _latest_us(self) -> int:
        return to_us(self._clock()) + MAX_AHEAD_US


def to_ms(ttl: float) -> int:
    """Return seconds as whole milliseconds, at least one."""
    ms = round(ttl * 1000)
    return ms if ms > 0 else 1


def _instruction(
    step: int,
    claim: Claim,
    ttl: float,
    now_us: int = 0,
    newest_version: int = ANY_VERSION,
    latest_us: int | None = None,
) -> bytes:
    """Return the first argument of a step; the lowest new fence is above the token's."""
    issued_us = claim.issued_us
    latest_us = latest_date(now_us) if latest_us is None else latest_us
    fence = max(now_us, min(issued_us, latest_us) + 1)
    return INSTRUCTION.pack(
        step, to_ms(ttl), issued_us, fence, claim.binding, newest_version, latest_us
    )
