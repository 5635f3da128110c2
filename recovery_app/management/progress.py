"""Own the progress bar of commands: one line on a terminal, drawn again and again."""

from __future__ import annotations

import shutil
import time

from django.core.management.base import OutputWrapper

from recovery_app.clock import Clock

REDRAW_SECONDS = 0.1
_WIDEST_BAR = 40
_NARROWEST_BAR = 10


class ProgressBar:
    """Show how far a piece of work has come; ``total`` may be unknown."""

    def __init__(
        self, stream: OutputWrapper, total: int | None, clock: Clock = time.monotonic
    ) -> None:
        self._stream = stream
        self._total = total
        self._clock = clock
        self._started = clock()
        self._drawn: float | None = None
        self._done = 0

    def show(self, done: int) -> None:
        """Say how much is done, but not more often than anybody can read."""
        self._done = done
        now = self._clock()
        if self._drawn is None or now - self._drawn >= REDRAW_SECONDS:
            self._draw(now)

    def close(self) -> None:
        """Leave the last state on a line of its own."""
        if self._drawn is not None:
            self._draw(self._clock())
            self._stream.write("")
            self._stream.flush()

    def _draw(self, now: float) -> None:
        self._drawn = now
        seconds = now - self._started
        columns = shutil.get_terminal_size().columns - 1
        text = _figures(self._done, self._total, seconds)
        bar = _bar(self._done, self._total, columns - len(text) - 3)
        # What a longer line left behind is wiped.
        line = f"{bar}{text}"[:columns].ljust(columns)
        self._stream.write(f"\r{line}", ending="")
        self._stream.flush()


def _figures(done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0
    if not total:
        return f"{done:,}  {rate:,.0f}/s"
    left = f"  {max(total - done, 0) / rate:,.0f} s left" if rate and done < total else ""
    share = min(done / total, 1)
    return f"{share:4.0%}  {done:,} of {total:,}  {rate:,.0f}/s{left}"


def _bar(done: int, total: int | None, room: int) -> str:
    if not total or room < _NARROWEST_BAR:
        return ""
    width = min(room, _WIDEST_BAR)
    filled = round(width * min(done / total, 1))
    return f"[{'#' * filled}{'.' * (width - filled)}] "
