"""The files of a run: JSON for programs, Markdown for the documentation, plots as SVG."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.plots import draw
from benchmarks.results import COLUMNS, Section, line_of, lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the files of a run go."""

    data: Path
    images: Path

    def write(self, sections: list[Section], *, quick: bool) -> None:
        """Write all files."""
        for path in (self.data, self.images):
            path.mkdir(parents=True, exist_ok=True)
        about = about_run(quick=quick)
        everything = {**about, "sections": [in_json(section) for section in sections]}
        (self.data / "results.json").write_text(json.dumps(everything, indent=1) + "\n")
        (self.data / "results.md").write_text("\n".join(markdown(about, sections)) + "\n")
        for section in sections:
            for plot in section.plots:
                draw(plot, self.images)


def about_run(*, quick: bool) -> dict[str, Any]:
    """Return when and on what the run was."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "quick": quick,
    }


def in_json(section: Section) -> dict[str, Any]:
    """Return a section for JSON; rows say whether they met their aim."""
    return {
        "name": section.name,
        "title": section.title,
        "rows": [{**asdict(row), "met": row.is_met} for row in section.rows],
        "tables": [asdict(table) for table in section.tables],
        "plots": [asdict(plot) for plot in section.plots],
    }


def markdown(about: dict[str, Any], sections: list[Section]) -> Iterator[str]:
    """Yield the lines of the page's tables: the aims of all, then the tables by themselves."""
    kind = " (quick)" if about["quick"] else ""
    yield f"Measured on {about['date']}{kind}: Python {about['python']}, {about['cores']} cores."
    main = [section for section in sections if not section.is_older]
    older = [section for section in sections if section.is_older and section.rows]
    yield from rows_of(main)
    for section in older:
        yield from ("", f"**{section.title}**")
        yield from rows_of([section])
    for section in sections:
        for table in section.tables:
            yield from ("", f"**{table.title}**", "", *lines_of(table))


def rows_of(sections: list[Section]) -> Iterator[str]:
    """Yield one table with all rows of some sections."""
    yield from ("", line_of(list(COLUMNS)), "|" + "---|" * len(COLUMNS))
    for section in sections:
        yield from (line_of(row.cells) for row in section.rows)
