"""A progress bar for management commands."""

from __future__ import annotations

import shutil
import time

from django.core.management.base import OutputWrapper

from recovery_app.clock import Clock

REDRAW_SECONDS = 0.1
_MAX_BAR_WIDTH = 40
_MIN_BAR_WIDTH = 10


class ProgressBar:
    """A line on a terminal that is redrawn in place; ``total`` may be unknown."""

    def __init__(
        self, stream: OutputWrapper, total: int | None, clock: Clock = time.monotonic
    ) -> None:
        self._stream = stream
        self._total = total
        self._clock = clock
        self._started_at = clock()
        self._drawn_at: float | None = None
        self._done = 0

    def show(self, done: int) -> None:
        """Update the progress; redraw at most every `REDRAW_SECONDS`."""
        self._done = done
        now = self._clock()
        if self._drawn_at is None or now - self._drawn_at >= REDRAW_SECONDS:
            self._draw(now)

    def close(self) -> None:
        """Draw the final progress and end the line."""
        if self._drawn_at is not None:
            self._draw(self._clock())
            self._stream.write("")
            self._stream.flush()

    def _draw(self, now: float) -> None:
        self._drawn_at = now
        columns = shutil.get_terminal_size().columns - 1
        text = _format_progress(self._done, self._total, now - self._started_at)
        bar = _format_bar(self._done, self._total, columns - len(text) - 3)
        # Padded, so that it overwrites a longer line.
        line = f"{bar}{text}"[:columns].ljust(columns)
        self._stream.write(f"\r{line}", ending="")
        self._stream.flush()


def _format_progress(done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0
    if not total:
        return f"{done:,}  {rate:,.0f}/s"
    left = f"  {max(total - done, 0) / rate:,.0f} s left" if rate and done < total else ""
    share = min(done / total, 1)
    return f"{share:4.0%}  {done:,} of {total:,}  {rate:,.0f}/s{left}"


def _format_bar(done: int, total: int | None, max_width: int) -> str:
    if not total or max_width < _MIN_BAR_WIDTH:
        return ""
    width = min(max_width, _MAX_BAR_WIDTH)
    filled = round(width * min(done / total, 1))
    return f"[{'#' * filled}{'.' * (width - filled)}] "
