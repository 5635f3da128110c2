"""Own the spans of OpenTelemetry: around joins, saves and recoveries, where its API is installed.

Without ``opentelemetry-api`` nothing is wrapped, so nothing is paid. With it the calls are
wrapped once, at start, and what else is traced inside them becomes a child of theirs; until
the application sets a tracer provider they go straight through, and within `ASK_SECONDS` from
then on they don't. A span has the socket's hash and the outcome, never a token, a state or the
text of an exception.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.tokens import key_of
from recovery_app._live.join import Join
from recovery_app.clock import Clock
from recovery_app.exceptions import JoinRefused, RecoveryError, StorageError

CALLS = {"save": "recovery.save", "recover": "recovery.recover", "take_over": "recovery.take_over"}
# ``atake_over`` goes through ``aclaim``, as a join does.
ASYNC_CALLS = {
    "asave": "recovery.save",
    "asave_payload": "recovery.save",
    "arecover": "recovery.recover",
    "aclaim": "recovery.take_over",
}
JOIN = "recovery.join"
ASK_SECONDS = 0.01
Call = Callable[..., Any]


def _find_api() -> Any:
    try:
        return import_module("opentelemetry.trace")
    except ImportError:
        return None


trace = _find_api()


def start() -> None:
    """Trace from now on, where OpenTelemetry is installed; once a process."""
    if trace is None or hasattr(Join.carry_out, "__wrapped__"):
        return
    tracer = trace.get_tracer("recovery_app")
    for name, title in CALLS.items():
        setattr(RecoveryManager, name, _traced(tracer, title, getattr(RecoveryManager, name)))
    for name, title in ASYNC_CALLS.items():
        setattr(RecoveryManager, name, _atraced(tracer, title, getattr(RecoveryManager, name)))
    Join.carry_out = _traced_join(tracer, Join.carry_out)  # type: ignore[method-assign]


class Provider:
    """Whether anybody takes spans: those that go nowhere cost as much as half a join.

    To ask costs as much as reading a state, so among many calls at once it is done once; a
    provider, once set, stays.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._is_set = False
        self._ask_at = 0.0

    def is_set(self) -> bool:
        """Say whether there is one, or was none a moment ago."""
        if not self._is_set:
            now = self._clock()
            if now >= self._ask_at:
                self._ask_at = now + ASK_SECONDS
                provider = trace.get_tracer_provider()
                self._is_set = not isinstance(provider, trace.ProxyTracerProvider)
        return self._is_set


provider = Provider()


def _traced(tracer: Any, title: str, call: Call) -> Call:
    @functools.wraps(call)
    def traced(manager: RecoveryManager, token: Any, *args: Any, **options: Any) -> Any:
        if not provider.is_set():
            return call(manager, token, *args, **options)
        with _span(tracer, title) as span:
            result = call(manager, token, *args, **options)
            span.set_attribute("recovery.socket_hash", key_of(token))
            return result

    return traced


def _atraced(tracer: Any, title: str, call: Callable[..., Awaitable[Any]]) -> Call:
    @functools.wraps(call)
    async def traced(manager: RecoveryManager, token: Any, *args: Any, **options: Any) -> Any:
        if not provider.is_set():
            return await call(manager, token, *args, **options)
        with _span(tracer, title) as span:
            result = await call(manager, token, *args, **options)
            span.set_attribute("recovery.socket_hash", key_of(token))
            return result

    return traced


def _traced_join(tracer: Any, carry_out: Callable[[Join], Awaitable[Any]]) -> Any:
    @functools.wraps(carry_out)
    async def traced(join: Join) -> Any:
        if not provider.is_set():
            return await carry_out(join)
        with _span(tracer, JOIN) as span:
            span.set_attribute("recovery.topic", join.topic)
            session, response = await carry_out(join)
            span.set_attribute("recovery.outcome", session.outcome.value)
            return session, response

    return traced


@contextmanager
def _span(tracer: Any, title: str) -> Iterator[Any]:
    """Make a span the current one; an error of the application or the storage marks it."""
    with tracer.start_as_current_span(
        title, record_exception=False, set_status_on_exception=False
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
