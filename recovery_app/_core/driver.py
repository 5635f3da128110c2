"""The one place that calls a storage: blocking or awaiting, timed, logged and traced."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeAlias, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from recovery_app._core.spans import Span, tracing
from recovery_app._core.telemetry import StorageMonitor
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers
from recovery_app.storages import Storage

Result = TypeVar("Result")
StorageCall: TypeAlias = "tuple[str, str, tuple[Any, ...], dict[str, Any]]"
"""The name to report it under, the blocking method, and its arguments: the key first, if any.
The asynchronous method has an ``a`` in front."""
Flow: TypeAlias = "Generator[StorageCall, Any, Result]"
"""An operation: it yields the calls that it needs, and is sent what each returns or raises."""
_BLOCKING = (
    "This call blocks, and asynchronous code can't wait for it. Await its async variant, whose "
    "name has an a in front: asave() for save(), apublish() for publish(); or call it in a "
    "thread, with sync_to_async()."
)


class Driver:
    """Runs flows on a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._monitor = StorageMonitor(type(storage).__name__)
        weakref.finalize(self, self._monitor.close)

    def close(self) -> None:
        """Note that the storage is no longer used."""
        self._monitor.close()

    def run(self, flow: Flow[Result], name: str = "", span: Span | None = None) -> Result:
        """Run a flow with blocking calls, within a span called ``name`` if spans are recorded."""
        if name and tracing.tracer is not None and tracing.tracer.is_recording():
            with tracing.tracer.open(name) as opened:
                return self.run(flow, span=opened)
        monitor, clock = self._monitor, self._monitor.clock
        try:
            operation, method, arguments, options = next(flow)
            while True:
                start = clock()
                try:
                    returned = getattr(self.storage, method)(*arguments, **options)
                except Exception as error:
                    monitor.failed(operation, start, error)
                    _name_socket(error, arguments)
                    # Error trackers record the variables of each frame.
                    arguments, options, returned = (), {}, None
                    operation, method, arguments, options = flow.throw(_explained(error))
                else:
                    observers.storage_called(operation, clock() - start, None)
                    if monitor.outage is not None:
                        monitor.recovered()
                    if span is not None:
                        span.set_attribute("recovery.socket_hash", arguments[0])
                        span = None
                    operation, method, arguments, options = flow.send(returned)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def arun(self, flow: Flow[Result], name: str = "") -> Coroutine[Any, Any, Result]:
        """Run a flow with asynchronous calls, within a span called ``name`` as for `run`."""
        if name and tracing.tracer is not None and tracing.tracer.is_recording():
            return self._arun_traced(flow, tracing.tracer.open(name))
        return self._arun(flow)

    async def _arun(self, flow: Flow[Result], span: Span | None = None) -> Result:
        monitor, clock = self._monitor, self._monitor.clock
        try:
            operation, method, arguments, options = next(flow)
            while True:
                start = clock()
                try:
                    returned = await getattr(self.storage, "a" + method)(*arguments, **options)
                except Exception as error:
                    monitor.failed(operation, start, error)
                    _name_socket(error, arguments)
                    # Error trackers record the variables of each frame.
                    arguments, options, returned = (), {}, None
                    operation, method, arguments, options = flow.throw(error)
                else:
                    observers.storage_called(operation, clock() - start, None)
                    if monitor.outage is not None:
                        monitor.recovered()
                    if span is not None:
                        span.set_attribute("recovery.socket_hash", arguments[0])
                        span = None
                    operation, method, arguments, options = flow.send(returned)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def wait(self, operation: str, waiting: Awaitable[Result]) -> Result:
        """Await a long wait of the storage, which is reported only if it fails."""
        monitor = self._monitor
        try:
            found = await waiting
        except Exception as error:
            monitor.failed(operation, monitor.clock(), error)
            raise
        if monitor.outage is not None:
            monitor.recovered()
        return found

    async def _arun_traced(self, flow: Flow[Result], opened: Any) -> Result:
        with opened as span:
            return await self._arun(flow, span)


def _explained(error: Exception) -> Exception:
    """Return the error of a blocking call; Django's own doesn't know what to call instead."""
    if not isinstance(error, SynchronousOnlyOperation):
        return error
    explained = SynchronousOnlyOperation(_BLOCKING)
    explained.__cause__ = error
    return explained


def _name_socket(error: Exception, arguments: tuple[Any, ...]) -> None:
    if isinstance(error, RecoveryError) and error.socket_hash is None and arguments:
        key = arguments[0]
        error.socket_hash = key if isinstance(key, str) else None
