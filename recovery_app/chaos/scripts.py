"""Scripts: the events that each client sends, one JSON object per line of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

CLIENT, NUMBER = "{client}", "{number}"
"""Placeholders in the strings of a payload, for the numbers of the client and of the event."""


class BadScript(ValueError):
    """A script that can't be read or contains something other than events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An event of a script."""

    event: str
    payload: dict[str, Any]


def load(path: Path) -> list[Line]:
    """Return the events of a file with lines such as ``{"event": "add", "payload": {…}}``.

    Raise `BadScript`.
    """
    try:
        texts = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadScript(f"{path} can't be read: {error}") from error
    lines = [_parse(path, number, text) for number, text in enumerate(texts, 1) if text.strip()]
    if not lines:
        raise BadScript(f"{path} contains no events")
    return lines


def for_client(script: Sequence[Line], client: int, events: int) -> list[Line]:
    """Return the events of one client: the script, repeated or cut to a number of events."""
    lines = islice(cycle(script), events)
    return [
        Line(
            event=line.event,
            payload=fill_in(line.payload, {CLIENT: str(client), NUMBER: str(number)}),
        )
        for number, line in enumerate(lines, start=1)
    ]


def _parse(path: Path, number: int, text: str) -> Line:
    try:
        found = json.loads(text)
        event, payload = found["event"], found.get("payload", {})
    except (ValueError, TypeError, KeyError, AttributeError):
        event = payload = None
    if not isinstance(event, str) or not isinstance(payload, dict):
        raise BadScript(f'{path}:{number} isn\'t an event like {{"event": "add", "payload": {{}}}}')
    return Line(event=event, payload=payload)


def fill_in(value: Any, placeholders: Mapping[str, str]) -> Any:
    """Return a value of JSON with the placeholders in its strings replaced."""
    if isinstance(value, str):
        for placeholder, text in placeholders.items():
            value = value.replace(placeholder, text)
        return value
    if isinstance(value, dict):
        return {key: fill_in(each, placeholders) for key, each in value.items()}
    if isinstance(value, list):
        return [fill_in(each, placeholders) for each in value]
    return value
