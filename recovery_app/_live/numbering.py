"""The numbers in the payload of an event, and those in its reply."""

from __future__ import annotations

from typing import NamedTuple

from recovery_app._live.protocol import Payload
from recovery_app._live.replies import MAX_NUMBER, Reply

NUMBER, ACKNOWLEDGED, LINE = "_seq", "_ack", "_line"
MAX_LINE_CHARS = 32
RECOVERY = "_recovery"


class Numbers(NamedTuple):
    """An event's own number, the number up to which the client has all replies, and its line."""

    seq: int
    ack: int
    line: str = ""


def has_number(payload: Payload) -> bool:
    """Return whether an event has a number of its own."""
    return isinstance(payload, dict) and NUMBER in payload


def take_numbers(payload: Payload) -> Numbers | None:
    """Remove an event's numbers from its payload and return them; ``None`` if it has none.

    Raises `ValueError` for anything but whole numbers, and for an invalid line.
    """
    if not isinstance(payload, dict):
        return None
    is_numbered = NUMBER in payload
    seq, ack = payload.pop(NUMBER, None), payload.pop(ACKNOWLEDGED, 0)
    if not is_numbered:
        return None
    line = payload.pop(LINE, "")
    if not (_is_number(seq) and seq >= 1 and _is_number(ack)):
        raise ValueError("an event's numbers are whole numbers from 1 on")
    if not _is_line(line):
        raise ValueError("the line of an event's number is a short word")
    return Numbers(seq, ack, line)


def with_numbers(reply: Reply, *, safe: int, is_repeat: bool = False) -> Reply:
    """Return a reply that also says which events are safe, and whether this is a repetition."""
    body = reply.response.removesuffix(b"}")
    comma = b"" if body == b"{" else b","
    repeat = b',"repeat":true' if is_repeat else b""
    # Of a key that comes twice, JSON readers take the last.
    response = b'%b%b"_recovery":{"seq":%d%b}}' % (body, comma, safe, repeat)
    return Reply(reply.is_ok, response)


def _is_line(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_LINE_CHARS:
        return False
    return value.isascii() and value.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
