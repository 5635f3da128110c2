"""Own the numbers that a client puts into the payload of an event, and the ones it is told."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from recovery_app._live import phoenix
from recovery_app._live.replies import MAX_NUMBER, Answer

NUMBER, ACKNOWLEDGED = "_seq", "_ack"
RECOVERY = "_recovery"


class Numbers(NamedTuple):
    """An event's own number, and that up to which the client has all replies."""

    seq: int
    ack: int


def read(payload: phoenix.Payload) -> Numbers | None:
    """Give an event's numbers, ``None`` where it has none; `ValueError` for anything else."""
    if not isinstance(payload, dict) or NUMBER not in payload:
        return None
    seq, ack = payload[NUMBER], payload.get(ACKNOWLEDGED, 0)
    if not (_is_number(seq) and seq >= 1 and _is_number(ack)):
        raise ValueError("an event's numbers are whole numbers from 1 on")
    return Numbers(seq, ack)


def without(payload: phoenix.Payload) -> phoenix.Payload:
    """Give the payload that is the application's."""
    if not isinstance(payload, dict):
        return payload
    return {key: value for key, value in payload.items() if key not in (NUMBER, ACKNOWLEDGED)}


def told(answer: Answer, *, safe: int, is_repeat: bool = False) -> Answer:
    """Add to an answer which events are safe, and whether this one was answered before."""
    part = {"seq": safe, "repeat": True} if is_repeat else {"seq": safe}
    body = answer.response.removesuffix(b"}")
    comma = b"" if body == b"{" else b","
    # Of a key that comes twice, JSON's readers take the last.
    response = b'%b%b"%b":%b}' % (body, comma, RECOVERY.encode(), orjson.dumps(part))
    return Answer(answer.is_ok, response)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
