"""OpenTelemetry spans around joins, saves and recoveries, if its API is installed.

The core's driver asks the tracer that `start` installs (`recovery_app._core.spans`); without
``opentelemetry-api`` there is none, at no cost. Until the application sets a tracer provider, no
span is opened; after that, each is, within `ASK_SECONDS`. A span has the socket's hash and the
outcome, never a token, a state or the text of an exception.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from recovery_app._core import spans
from recovery_app.clock import Clock
from recovery_app.exceptions import JoinRefused, RecoveryError, StorageError

ASK_SECONDS = 0.01


def _find_api() -> Any:
    try:
        return import_module("opentelemetry.trace")
    except ImportError:
        return None


trace = _find_api()


def start() -> None:
    """Start tracing, if OpenTelemetry is installed."""
    if trace is not None:
        spans.tracing.add("opentelemetry", OpenTelemetryTracer())


class Provider:
    """Whether spans are recorded: spans that nobody records cost as much as half a join.

    Checking that costs as much as reading a state, so simultaneous calls share a check; once set, a
    provider stays.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._is_set = False
        self._ask_at = 0.0

    def is_set(self) -> bool:
        """Return whether there is a provider, as of a moment ago."""
        if not self._is_set:
            now = self._clock()
            if now >= self._ask_at:
                self._ask_at = now + ASK_SECONDS
                provider = trace.get_tracer_provider()
                self._is_set = not isinstance(provider, trace.ProxyTracerProvider)
        return self._is_set


provider = Provider()


class OpenTelemetryTracer:
    """Opens the spans that the core and the joins name."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("recovery_app")
        self.is_recording = provider.is_set

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Make a span the current one; an error of the application or the storage marks it."""
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except RecoveryError as error:
                span.set_attribute("error.type", error.reason)
                if error.socket_hash is not None:
                    span.set_attribute("recovery.socket_hash", error.socket_hash)
                if isinstance(error, StorageError):
                    span.set_status(trace.StatusCode.ERROR)
                raise
            except JoinRefused:
                span.set_attribute("recovery.outcome", "refused")
                raise
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(trace.StatusCode.ERROR)
                raise
