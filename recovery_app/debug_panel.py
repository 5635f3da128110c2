"""A panel for django-debug-toolbar: what the page's WebSockets have joined, recovered and saved.

Add ``"recovery_app.debug_panel.RecoveryPanel"`` to ``DEBUG_TOOLBAR_PANELS``. The toolbar belongs
to a request, and the page's WebSockets are opened after it, so the panel is rendered again each
time that it is opened. It shows the connections of the same browser (by address and
``User-Agent``) to this process, and never a state, a token or a query string.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

from recovery_app._core.spans import tracing
from recovery_app.signals import Observer, observers

__all__ = ["RecoveryPanel"]

MAX_CONNECTIONS = 50
"""How many connections of a process are remembered, of all browsers."""
MAX_TOPICS = 50
SHOWN_CHARACTERS = 200

Browser = tuple[str, str]


@dataclass(slots=True)
class TopicRecord:
    """One joined topic, and what its joins and saves cost."""

    topic: str
    outcome: str = ""
    join_ms: float = 0.0
    saves: int = 0
    failed_saves: int = 0
    save_ms: float = 0.0
    """The time of all saves."""
    size_bytes: int = 0
    """The size of the last saved state."""

    @property
    def mean_save_ms(self) -> float:
        """The average time of a save."""
        return self.save_ms / self.saves if self.saves else 0.0


@dataclass(slots=True)
class Connection:
    """One WebSocket of a browser."""

    browser: Browser
    path: str
    opened_at: float
    is_open: bool = True
    topics: list[TopicRecord] = field(default_factory=list)

    def add(self, record: TopicRecord) -> None:
        """Add a topic; if there are too many, it replaces the oldest."""
        self.topics = [*self.topics[1 - MAX_TOPICS :], record]


class Recorder(Observer):
    """An observer and a tracer that remembers the latest connections of this process.

    Everything that one topic does runs in one task, in a context derived from its connection's.
    """

    def __init__(self) -> None:
        self._connections: deque[Connection] = deque(maxlen=MAX_CONNECTIONS)
        self._connection: ContextVar[Connection | None] = ContextVar("connection", default=None)
        self._topic: ContextVar[TopicRecord | None] = ContextVar("topic", default=None)

    def connections_of(self, browser: Browser) -> list[Connection]:
        """Return the connections of a browser, newest first."""
        # Event loops on other threads may add some meanwhile.
        return [each for each in reversed(list(self._connections)) if each.browser == browser]

    def clear(self) -> None:
        """Forget all connections."""
        self._connections.clear()

    # Observer.

    def connecting(self, scope: Mapping[str, Any]) -> None:
        connection = Connection(_browser_of(scope), scope["path"][:SHOWN_CHARACTERS], time.time())
        self._connections.append(connection)
        self._connection.set(connection)

    def connection_closed(self) -> None:
        connection = self._connection.get()
        if connection is not None:
            connection.is_open = False

    def state_saved(self, size_bytes: int) -> None:
        record = self._topic.get()
        if record is not None:
            record.size_bytes = size_bytes

    # Tracer.

    def is_recording(self) -> bool:
        """Return whether spans are recorded."""
        return True

    @contextmanager
    def open(self, name: str) -> Iterator[_Span]:
        """Time a join or a save of the current topic, and nothing else."""
        span, start, failed = _Span(self._begin(name)), time.perf_counter(), False
        try:
            yield span
        except Exception:
            failed = True
            raise
        finally:
            self._end(span.record, name, (time.perf_counter() - start) * 1000, failed=failed)

    def _begin(self, name: str) -> TopicRecord | None:
        connection = self._connection.get()
        if name == "recovery.join" and connection is not None:
            record = TopicRecord("")
            connection.add(record)
            self._topic.set(record)
        return self._topic.get()

    def _end(self, record: TopicRecord | None, name: str, ms: float, *, failed: bool) -> None:
        if record is None:
            return
        if name == "recovery.join":
            record.join_ms = ms
            record.outcome = record.outcome or ("refused" if failed else "")
        elif name == "recovery.save":
            record.saves += not failed
            record.failed_saves += failed
            record.save_ms += 0.0 if failed else ms


class _Span:
    """Takes the topic and the outcome of a join."""

    __slots__ = ("record",)

    def __init__(self, record: TopicRecord | None) -> None:
        self.record = record

    def set_attribute(self, key: str, value: str) -> None:
        """Note an attribute that the panel shows."""
        if self.record is None:
            return
        if key == "recovery.topic":
            self.record.topic = value[:SHOWN_CHARACTERS]
        elif key == "recovery.outcome":
            self.record.outcome = value


recorder = Recorder()


class RecoveryPanel(Panel):  # type: ignore[misc, unused-ignore]
    """The panel "Recovery"."""

    is_async = True
    title = nav_title = _("Recovery")
    nav_subtitle = _("WebSockets of this page")
    template = "recovery_app/debug_panel.html"

    @classmethod
    def ready(cls) -> None:
        """Start recording."""
        observers.add(recorder)
        tracing.add("debug_panel", recorder)

    @property
    def scripts(self) -> list[str]:
        """The script of the button that renders the panel anew."""
        return [static("recovery_app/debug_panel.js")]

    @property
    def content(self) -> str:
        """The current connections."""
        stats: dict[str, Any] = self.get_stats()  # type: ignore[no-untyped-call, unused-ignore]
        connections = recorder.connections_of(tuple(stats["browser"]))
        context = {
            "request_id": self.toolbar.request_id,
            "panel_id": self.panel_id,
            "since": [each for each in connections if each.opened_at >= stats["rendered_at"]],
            "before": [each for each in connections if each.opened_at < stats["rendered_at"]],
        }
        return render_to_string(self.template, context)

    def generate_stats(self, request: HttpRequest, _response: HttpResponseBase) -> None:
        """Record the browser, and the time from which its connections belong to the page."""
        agent = request.headers.get("User-Agent", "")
        browser = (request.META.get("REMOTE_ADDR") or "", agent)
        stats = {"browser": browser, "rendered_at": time.time()}
        self.record_stats(stats)  # type: ignore[no-untyped-call, unused-ignore]


def _browser_of(scope: Mapping[str, Any]) -> Browser:
    headers = dict(scope.get("headers") or ())
    client = scope.get("client") or ("",)
    return str(client[0]), headers.get(b"user-agent", b"").decode("latin-1")
