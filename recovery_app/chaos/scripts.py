"""Own scripts: the events that each client sends, one JSON object on each line of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

CLIENT, NUMBER = "{client}", "{number}"
"""In any string of a payload they stand for the client's number, and for the event's."""


class BadScript(ValueError):
    """A line of the file isn't an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event of a script."""

    event: str
    payload: dict[str, Any]


def load(path: Path) -> list[Line]:
    """Read ``{"event": "add", "payload": {...}}`` from each line; raise `BadScript`."""
    try:
        texts = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadScript(f"{path} can't be read: {error}") from error
    lines = [_line(path, number, text) for number, text in enumerate(texts, 1) if text.strip()]
    if not lines:
        raise BadScript(f"{path} has no event")
    return lines


def for_client(script: Sequence[Line], client: int, events: int) -> list[Line]:
    """Give so many events as one client sends them; the script begins again where it ends."""
    lines = islice(cycle(script), events)
    return [
        Line(event=line.event, payload=_fill(line.payload, client, number))
        for number, line in enumerate(lines, start=1)
    ]


def _line(path: Path, number: int, text: str) -> Line:
    try:
        found = json.loads(text)
        event, payload = found["event"], found.get("payload", {})
    except (ValueError, TypeError, KeyError, AttributeError):
        event = payload = None
    if not isinstance(event, str) or not isinstance(payload, dict):
        raise BadScript(f'{path}:{number} isn\'t like {{"event": "add", "payload": {{}}}}')
    return Line(event=event, payload=payload)


def _fill(value: Any, client: int, number: int) -> Any:
    if isinstance(value, str):
        return value.replace(CLIENT, str(client)).replace(NUMBER, str(number))
    if isinstance(value, dict):
        return {key: _fill(each, client, number) for key, each in value.items()}
    if isinstance(value, list):
        return [_fill(each, client, number) for each in value]
    return value
