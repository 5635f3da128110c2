"""The bytes of a process's report: compressed JSON, with its pages in columns."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from recovery_app.values import LivePage, ProcessReport

MAX_DECODED_BYTES = 16 * 1024 * 1024
_FIELDS = tuple(field.name for field in fields(ProcessReport))
_PAGE_FIELDS = tuple(field.name for field in fields(LivePage))


def encode_report(report: ProcessReport) -> bytes:
    """Return a report as bytes."""
    facts = {name: getattr(report, name) for name in _FIELDS}
    facts["pages"] = [[getattr(page, name) for page in report.pages] for name in _PAGE_FIELDS]
    return zlib.compress(json.dumps(facts, separators=(",", ":")).encode(), 1)


def decode_report(data: bytes) -> ProcessReport | None:
    """Return the report of `encode_report`, or ``None`` for what isn't one.

    What a newer version has added is left out.
    """
    try:
        facts: dict[str, Any] = json.loads(zlib.decompressobj().decompress(data, MAX_DECODED_BYTES))
        facts["pages"] = _pages_of(facts["pages"])
        facts["joins"] = {int(minute): dict(found) for minute, found in facts["joins"].items()}
        return ProcessReport(**{name: facts[name] for name in _FIELDS if name in facts})
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _pages_of(columns: list[list[Any]]) -> tuple[LivePage, ...]:
    known = columns[: len(_PAGE_FIELDS)]
    return tuple(
        LivePage(
            socket_hash=socket_hash,
            person=person,
            user=user,
            view=view,
            topic=topic,
            since_us=since_us,
        )
        for socket_hash, person, user, view, topic, since_us in zip(*known, strict=True)
    )


def latest_reports(stored: Iterable[bytes]) -> list[ProcessReport]:
    """Return the last report of each process, the newest first."""
    found: dict[str, ProcessReport] = {}
    for report in filter(None, map(decode_report, stored)):
        known = found.get(report.uid)
        if known is None or known.at_us < report.at_us:
            found[report.uid] = report
    return sorted(found.values(), key=lambda each: each.at_us, reverse=True)
