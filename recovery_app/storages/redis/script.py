"""The fenced steps on the server: one Lua script that takes any number of them.

It decides as `recovery_app.fencing` does; the contract suite compares the two. Each step takes
a key and two arguments: an instruction of fixed size (`INSTRUCTION`) and a payload (the
snapshot to save, the binding to renew to, the marker of a revocation, or nothing).

Numbers of 64 bits are read as two of 32, since Lua's are doubles. Bytes are only compared for
equality: ``<`` on strings depends on the server's locale.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from recovery_app.fencing import Decision, Verdict

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
INSTRUCTION = struct.Struct(">BQQQ16sqQ")
"""Step; TTL in ms; timestamp of the token; lowest new fence; binding; newest version; the latest
fence that counts as sound."""

SCRIPT = """
local SAVE, TOUCH, TAKE_OVER, RENEW, REVOKE = 0, 1, 2, 3, 4
local DONE, NOT_FOUND, FENCED, REVOKED = 0, 1, 2, 3
local BINDING_MISMATCH, VERSION_TOO_NEW, UNREADABLE = 4, 5, 6

local function above(hi, lo, other_hi, other_lo)
  return hi > other_hi or (hi == other_hi and lo > other_lo)
end

local function out_of_range(hi, lo)
  return above(hi, lo, 0x40000000, 0)
end

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

local function put(key, data, ttl)
  local reply = redis.pcall('SET', key, data, 'PX', ttl)
  return failed(reply) and reply or DONE
end

local function step(key, instruction, payload)
  local op, ttl, issued_hi, issued_lo, least_hi, least_lo, expected_binding, newest,
    latest_hi, latest_lo =
    struct.unpack('>BI8I4I4I4I4c16i8I4I4', instruction)
  local returns_data = op == TAKE_OVER or op == RENEW
  local stored
  if returns_data then
    stored = redis.pcall('GET', key)
  else
    stored = redis.pcall('GETRANGE', key, 0, 63)
    if stored == '' and redis.call('EXISTS', key) == 0 then stored = false end
  end
  if failed(stored) then return stored end

  local function refuse(verdict)
    if returns_data then return {verdict, stored} end
    return verdict
  end

  if not stored then
    if op == SAVE or op == REVOKE then return put(key, payload, ttl) end
    return NOT_FOUND
  end

  local magic, format, flags, version, fence_hi, fence_lo, floor_hi, floor_lo
  local created_hi, created_lo, saved_hi, saved_lo, binding, _
  local readable = #stored >= 64
  if readable then
    magic, format, flags, version, fence_hi, fence_lo, floor_hi, floor_lo, _,
      created_hi, created_lo, saved_hi, saved_lo, binding =
      struct.unpack('>c2BBI4I4I4I4I4c8I4I4I4I4c16', stored)
    readable = magic == 'RS' and (format == 1 or format == 2)
      and not (out_of_range(fence_hi, fence_lo) or out_of_range(floor_hi, floor_lo)
      or out_of_range(created_hi, created_lo)
      or out_of_range(saved_hi, saved_lo) or above(fence_hi, fence_lo, latest_hi, latest_lo)
      or above(floor_hi, floor_lo, latest_hi, latest_lo))
  end
  if not readable then
    if op == REVOKE then return put(key, payload, ttl) end
    return refuse(UNREADABLE)
  end
  if binding ~= expected_binding then return refuse(BINDING_MISMATCH) end

  local revoked = flags % 2 == 1
  if op ~= REVOKE then
    local limit_hi, limit_lo = fence_hi, fence_lo
    if op == TAKE_OVER then limit_hi, limit_lo = floor_hi, floor_lo end
    if above(limit_hi, limit_lo, issued_hi, issued_lo) then
      if not revoked then return refuse(FENCED) end
      return refuse(op == TAKE_OVER and NOT_FOUND or REVOKED)
    end
    if revoked and op ~= SAVE then return NOT_FOUND end
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
  if op == TAKE_OVER and version > newest then return refuse(VERSION_TOO_NEW) end

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


def read_decision(reply: Any) -> Decision:
    """Return the decision in the reply to a takeover or a renewal."""
    if isinstance(reply, int):
        return Decision(VERDICTS[reply])
    verdict, data = reply
    return Decision(VERDICTS[verdict], data)


def read_verdict(reply: int) -> Verdict:
    """Return the verdict in the reply to any other step."""
    return VERDICTS[reply]
