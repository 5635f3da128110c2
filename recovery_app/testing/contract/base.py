"""Fixtures and helpers of the contract tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import pytest

from recovery_app.fencing import Claim
from recovery_app.snapshots import Header, Snapshot, digest_binding
from recovery_app.storages import Storage
from recovery_app.testing.clock import ManualClock

KEY = "0123456789abcdef"
OTHER_KEY = "fedcba9876543210"
OWNER = b"the owner"
STRANGER = b"a stranger"


class Clock(Protocol):
    """A clock that a test can advance."""

    def __call__(self) -> float: ...
    def advance(self, *, seconds: float) -> None: ...


class ContractBase:
    """The fixtures of the contract, and what a subclass can adjust."""

    ttl_seconds: float = 60
    """The TTL of the values that the tests store."""
    margin_seconds: float = 0.1
    """How exactly the storage keeps the TTL."""
    max_value_bytes: int = 1024 * 1024
    """The largest value that the storage has to accept."""

    def make_storage(self, clock: Clock) -> Storage:
        """Return a new, empty storage whose time is ``clock``."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a make_storage(clock), or a fixture named storage."
        )

    def overfill(self, storage: Storage, group: str) -> bool:
        """Publish until a log has lost its first message, and return true.

        By default this returns false, and what needs it is left out.
        """
        return False

    @pytest.fixture
    def clock(self) -> Clock:
        """Return the clock that the tests advance."""
        return ManualClock()

    @pytest.fixture
    def storage(self, clock: Clock) -> Iterator[Storage]:
        """Yield the storage under test, and close it afterwards."""
        storage = self.make_storage(clock)
        yield storage
        storage.close()

    @pytest.fixture(params=["sync", "async"])
    def variant(self, request: pytest.FixtureRequest, storage: Storage) -> Iterator[Storage]:
        """Yield the storage, called by its sync methods and then by the async variants."""
        if request.param == "sync":
            yield storage
        else:
            with calling_async(storage) as variant:
                yield variant

    def expires_after(self, storage: Storage, clock: Clock, seconds: float, key: str = KEY) -> bool:
        """Return whether a value that is stored now expires after so many seconds exactly."""
        clock.advance(seconds=seconds - self.margin_seconds)
        was_there = storage.load(key) is not None
        clock.advance(seconds=self.margin_seconds)
        return was_there and storage.load(key) is None


@contextmanager
def calling_async(storage: Storage) -> Iterator[Storage]:
    """Yield a storage whose methods run the async variants on an event loop of its own."""
    loop = asyncio.new_event_loop()
    try:
        yield cast("Storage", _AsyncVariants(storage, loop))
    finally:
        loop.run_until_complete(_finish_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _finish_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _AsyncVariants:
    def __init__(self, storage: Storage, loop: asyncio.AbstractEventLoop) -> None:
        self._storage = storage
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        variant = getattr(self._storage, f"a{name}", None)
        if variant is None:
            return getattr(self._storage, name)
        return lambda *args, **options: self._loop.run_until_complete(variant(*args, **options))


def claim_of(issued_us: int, binding: bytes = OWNER) -> Claim:
    """Return the claim of a token with this timestamp and binding."""
    return Claim(issued_us=issued_us, binding=digest_binding(binding))


def snapshot_bytes(
    fence: int,
    state: bytes = b"{}",
    *,
    binding: bytes = OWNER,
    floor: int | None = None,
    socket_id: str = "a socket",
    view: str = "a view",
    **header: Any,
) -> bytes:
    """Return the snapshot that a token with the timestamp ``fence`` saves."""
    return Snapshot(
        header=Header(
            fence=fence,
            floor=fence if floor is None else floor,
            binding=digest_binding(binding),
            **header,
        ),
        socket_id=socket_id,
        view=view,
        topic="a:topic",
        serializer="json",
        state=state,
    ).to_bytes()


def header_of(storage: Storage, key: str = KEY) -> Header:
    """Return the header of the stored snapshot."""
    data = storage.load(key)
    assert data is not None, "The storage has lost the snapshot."
    return Header.read(data)
