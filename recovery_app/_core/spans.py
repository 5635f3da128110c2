"""Spans around calls and joins, opened by one tracer or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol


class Span(Protocol):
    """The part of an OpenTelemetry span that is used here."""

    def set_attribute(self, key: str, value: str) -> None: ...


class Tracer(Protocol):
    """Opens spans; implemented by `recovery_app.tracing` and the debug panel."""

    def is_recording(self) -> bool:
        """Return whether spans are recorded at the moment."""

    def open(self, name: str) -> AbstractContextManager[Span]:
        """Return a context manager for a span, which is marked if an error leaves the block."""


class CompositeTracer:
    """Several tracers as one."""

    def __init__(self, tracers: Iterable[Tracer]) -> None:
        self._tracers = tuple(tracers)

    def is_recording(self) -> bool:
        """Return whether any of them records spans at the moment."""
        return any(tracer.is_recording() for tracer in self._tracers)

    @contextmanager
    def open(self, name: str) -> Iterator[Span]:
        """Open a span of each tracer that records."""
        with ExitStack() as stack:
            spans = [
                stack.enter_context(tracer.open(name))
                for tracer in self._tracers
                if tracer.is_recording()
            ]
            yield CompositeSpan(spans)


class CompositeSpan:
    """The spans of several tracers as one."""

    __slots__ = ("_spans",)

    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans

    def set_attribute(self, key: str, value: str) -> None:
        """Set an attribute of each."""
        for span in self._spans:
            span.set_attribute(key, value)


class Tracing:
    """The tracers of this process, by name; ``tracer`` stands for all, if there are any."""

    tracer: Tracer | None = None

    def __init__(self) -> None:
        self._tracers: dict[str, Tracer] = {}

    def add(self, name: str, tracer: Tracer) -> None:
        """Add a tracer, replacing one of the same name."""
        self._tracers[name] = tracer
        tracers = tuple(self._tracers.values())
        self.tracer = tracers[0] if len(tracers) == 1 else CompositeTracer(tracers)

    def remove(self, name: str) -> None:
        """Remove a tracer."""
        del self._tracers[name]
        self.tracer = CompositeTracer(self._tracers.values()) if self._tracers else None

    def active(self) -> Tracer | None:
        """Return the tracer if it records spans."""
        tracer = self.tracer
        return tracer if tracer is not None and tracer.is_recording() else None


tracing = Tracing()
