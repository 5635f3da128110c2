"""Own the fenced steps on the server: one Lua script that takes any number of them.

It decides as `recovery_app.fencing` does; the contract suite compares the two. Each step is
a key and two arguments: an *order* of fixed size (`ORDER`) and a payload (the snapshot to
save, the binding to renew to, the marker of a revocation, or nothing).

Numbers of 64 bits are taken as two of 32, since Lua's are doubles. Bytes are compared for
equality alone: ``<`` on strings goes by the server's locale.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from recovery_app.fencing import Claim, Decision, Verdict, decide_revocation
from recovery_app.snapshots import Header

SAVE, TOUCH, TAKE_OVER, RENEW, REVOKE = range(5)
VERDICTS = (
    Verdict.DONE,
    Verdict.NOT_FOUND,
    Verdict.FENCED,
    Verdict.REVOKED,
    Verdict.BINDING_MISMATCH,
    Verdict.VERSION_TOO_NEW,
    Verdict.UNREADABLE,
)
ANY_VERSION = 2**32
ORDER = struct.Struct(">BQQQ16sq")
"""Step; ttl in ms; timestamp of the token; the least new fence; binding; newest version."""

HEADER_BYTES = 64
READABLE = b"RS\x01"
_CLAIMED = struct.Struct(">8xQ32x16s")

SCRIPT = """
local SAVE, TOUCH, TAKE_OVER, RENEW, REVOKE = 0, 1, 2, 3, 4
local DONE, ABSENT, FENCED, REVOKED, FOREIGN, NEWER, UNREADABLE = 0, 1, 2, 3, 4, 5, 6

local function above(hi, lo, other_hi, other_lo)
  return hi > other_hi or (hi == other_hi and lo > other_lo)
end

local function too_late(hi, lo)
  return above(hi, lo, 0x40000000, 0)
end

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

local function put(key, data, ttl)
  local reply = redis.pcall('SET', key, data, 'PX', ttl)
  return failed(reply) and reply or DONE
end

local function step(key, order, payload)
  local op, ttl, issued_hi, issued_lo, least_hi, least_lo, claimed, newest =
    struct.unpack('>BI8I4I4I4I4c16i8', order)
  local gives = op == TAKE_OVER or op == RENEW
  local stored
  if gives then
    stored = redis.pcall('GET', key)
  else
    stored = redis.pcall('GETRANGE', key, 0, 63)
    if stored == '' and redis.call('EXISTS', key) == 0 then stored = false end
  end
  if failed(stored) then return stored end

  local function refuse(verdict)
    if gives then return {verdict, stored} end
    return verdict
  end

  if not stored then
    if op == SAVE or op == REVOKE then return put(key, payload, ttl) end
    return ABSENT
  end

  local magic, format, flags, version, fence_hi, fence_lo, floor_hi, floor_lo
  local created_hi, created_lo, saved_hi, saved_lo, bound, _
  local readable = #stored >= 64
  if readable then
    magic, format, flags, version, fence_hi, fence_lo, floor_hi, floor_lo, _,
      created_hi, created_lo, saved_hi, saved_lo, bound =
      struct.unpack('>c2BBI4I4I4I4I4c8I4I4I4I4c16', stored)
    readable = magic == 'RS' and format == 1 and not (too_late(fence_hi, fence_lo)
      or too_late(floor_hi, floor_lo) or too_late(created_hi, created_lo)
      or too_late(saved_hi, saved_lo))
  end
  if not readable then
    if op == REVOKE then return put(key, payload, ttl) end
    return refuse(UNREADABLE)
  end
  if bound ~= claimed then return refuse(FOREIGN) end

  local revoked = flags % 2 == 1
  if op ~= REVOKE then
    local limit_hi, limit_lo = fence_hi, fence_lo
    if op == TAKE_OVER then limit_hi, limit_lo = floor_hi, floor_lo end
    if above(limit_hi, limit_lo, issued_hi, issued_lo) then
      if not revoked then return refuse(FENCED) end
      return refuse(op == TAKE_OVER and ABSENT or REVOKED)
    end
    if revoked and op ~= SAVE then return ABSENT end
  end

  if op == TOUCH then
    local reply = redis.pcall('PEXPIRE', key, ttl)
    return failed(reply) and reply or DONE
  end
  if op == SAVE then
    local floor = payload:sub(17, 24)
    local new_hi, new_lo = struct.unpack('>I4I4', floor)
    if above(floor_hi, floor_lo, new_hi, new_lo) then floor = stored:sub(17, 24) end
    return put(key, payload:sub(1, 16) .. floor .. payload:sub(25, 32) .. stored:sub(33, 40)
      .. payload:sub(41), ttl)
  end
  if op == TAKE_OVER and version > newest then return refuse(NEWER) end

  local hi, lo = fence_hi, fence_lo + 1
  if lo == 4294967296 then hi, lo = hi + 1, 0 end
  if above(least_hi, least_lo, hi, lo) then hi, lo = least_hi, least_lo end
  local fence = struct.pack('>I4I4', hi, lo)
  if op == REVOKE then
    return put(key, payload:sub(1, 8) .. fence .. fence .. payload:sub(25), ttl)
  end

  local data = stored:sub(1, 8) .. fence .. stored:sub(17)
  if op == RENEW then data = data:sub(1, 48) .. payload .. data:sub(65) end
  local reply = put(key, data, ttl)
  if reply ~= DONE then return reply end
  return {DONE, data}
end

local replies = {}
for i, key in ipairs(KEYS) do
  replies[i] = step(key, ARGV[2 * i - 1], ARGV[2 * i])
end
return replies
"""
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

Step = tuple[bytes, bytes]
"""The two arguments of a step: order and payload."""


def save_step(data: bytes, ttl_ms: int) -> Step:
    """Store a snapshot's bytes, whose fence is its token's timestamp; `SnapshotCorrupt`."""
    if len(data) < HEADER_BYTES or not data.startswith(READABLE):
        Header.read(data)
    fence, binding = _CLAIMED.unpack_from(data)
    return ORDER.pack(SAVE, ttl_ms, fence, 0, binding, ANY_VERSION), data


def touch_step(claim: Claim, ttl_ms: int) -> Step:
    """Restart the time to live."""
    return ORDER.pack(TOUCH, ttl_ms, claim.issued_us, 0, claim.binding, ANY_VERSION), b""


def take_over_step(claim: Claim, ttl_ms: int, *, now_us: int, newest_version: int | None) -> Step:
    """Raise the fence for a new connection."""
    newest = ANY_VERSION if newest_version is None else newest_version
    least = max(now_us, claim.issued_us + 1)
    return ORDER.pack(TAKE_OVER, ttl_ms, claim.issued_us, least, claim.binding, newest), b""


def renew_step(claim: Claim, ttl_ms: int, *, now_us: int, binding: bytes) -> Step:
    """Raise the fence for the same connection and bind the snapshot anew."""
    least = max(now_us, claim.issued_us + 1)
    order = ORDER.pack(RENEW, ttl_ms, claim.issued_us, least, claim.binding, ANY_VERSION)
    return order, binding


def revoke_step(claim: Claim, ttl_ms: int, *, now_us: int) -> Step:
    """Put a marker in the snapshot's place; the script raises its fence above the stored."""
    marker = decide_revocation(None, claim, now_us=now_us).data or b""
    least = Header.read(marker).fence
    order = ORDER.pack(REVOKE, ttl_ms, claim.issued_us, least, claim.binding, ANY_VERSION)
    return order, marker


def read_decision(reply: Any) -> Decision:
    """Read what the script says about one step."""
    if isinstance(reply, int):
        return Decision(verdict=VERDICTS[reply])
    verdict, data = reply
    return Decision(verdict=VERDICTS[verdict], data=data)


def read_verdict(reply: int) -> Verdict:
    """Read what the script says about a step that gives nothing back."""
    return VERDICTS[reply]
