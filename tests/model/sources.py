"""The sources of recovery.js."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import TOP

SOURCES = TOP / "js" / "src"


def file_of(text: str) -> Path:
    """Return the only source file that has this text, and has it once."""
    counts = {path: path.read_text().count(text) for path in SOURCES.rglob("*.js")}
    (path,) = (path for path, count in counts.items() if count > 0)
    assert counts[path] == 1
    return path
