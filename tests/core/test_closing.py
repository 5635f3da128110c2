"""Tests of a closed or collected manager: leave no trace, at exit too."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.cleanup import CleanupThread
from recovery_app.exceptions import StorageUnavailable
from recovery_app.signals import Observer, observers
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.core.support import SECRET, OwnStorage, make_manager, run_script

SOCKET = "the socket"
STATE = {"count": 1}
SOON = 0.001
PATIENCE_SECONDS = 120


class WatchedStorage(MemoryStorage):
    """A storage that tells of each clean-up."""

    fails = False

    def __init__(self) -> None:
        self.fake = FakeClock()
        super().__init__(clock=self.fake)
        self.begun = threading.Semaphore(0)
        self.cleaned = threading.Semaphore(0)
        self.left = threading.Event()

    def cleanup_expired(self) -> int:
        self.begun.release()
        try:
            if self.fails:
                raise ZeroDivisionError
            return super().cleanup_expired()
        finally:
            self.cleaned.release()

    def leave_thread(self) -> None:
        self.left.set()

    def wait_for_cleanups(self, count: int) -> None:
        """Wait for as many that begin from now on."""
        self.cleaned = threading.Semaphore(0)
        # One may be under way.
        for _ in range(count + 1):
            assert self.cleaned.acquire(timeout=PATIENCE_SECONDS)


def cleaners() -> list[threading.Thread]:
    """Return the threads that clean up, of all managers."""
    return [thread for thread in threading.enumerate() if thread.name == "recovery_app-cleaner"]


def make(storage: Any, **options: Any) -> RecoveryManager:
    return RecoveryManager(secret=SECRET, storage=storage, cleanup_interval=SOON, **options)


@pytest.fixture(autouse=True)
def no_trace() -> Any:
    """Fail a test that leaves a thread."""
    gc.collect()  # Managers that earlier tests dropped end their threads when collected.
    assert cleaners() == []
    yield
    assert cleaners() == []


# The thread of the clean-up.


def test_the_first_save_starts_the_clean_up_and_closing_ends_it(
    calls: Callable[[Any], Any],
) -> None:
    storage = WatchedStorage()
    manager = calls(make(storage))
    token = manager.create_token(SOCKET)
    assert manager.touch(token) is False
    assert cleaners() == []
    manager.save(token, STATE)
    (thread,) = cleaners()
    assert thread.daemon
    manager.save(token, STATE)
    assert cleaners() == [thread]
    storage.wait_for_cleanups(2)
    manager.close()
    assert not thread.is_alive()
    assert storage.left.is_set()


def test_the_clean_up_removes_what_has_expired() -> None:
    storage = WatchedStorage()
    with make(storage, clock=storage.fake) as manager:
        manager.save(manager.create_token(SOCKET), STATE)
        storage.fake.advance(seconds=300)
        storage.wait_for_cleanups(1)
    storage.fake.advance(seconds=-300)
    assert storage.count() == 0


def test_a_closed_manager_starts_no_clean_up_any_more(calls: Callable[[Any], Any]) -> None:
    manager = calls(make(WatchedStorage()))
    manager.close()
    manager.close()
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    assert manager.recover(token) == STATE


def test_the_clean_up_survives_a_storage_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    storage = WatchedStorage()
    storage.fails = True
    with caplog.at_level(logging.DEBUG), make(storage) as manager:
        manager.save(manager.create_token(SOCKET), STATE)
        storage.wait_for_cleanups(2)
        storage.fails = False
        storage.wait_for_cleanups(2)
    records = (record for record in caplog.records if record.name == "recovery_app")
    messages = [record.getMessage() for record in records]
    # However long it lasts, it is one line, with what is behind it.
    assert messages.count("The clean-up failed. It will be tried again at each interval.") == 1
    assert messages[0].startswith("The clean-up failed")
    assert caplog.records[0].exc_info is not None
    assert messages[-1] == "Removed 0 expired snapshots."


def test_each_outage_of_the_clean_up_is_told(caplog: pytest.LogCaptureFixture) -> None:
    storage = WatchedStorage()
    with make(storage) as manager:
        manager.save(manager.create_token(SOCKET), STATE)
        for _ in range(2):
            storage.fails = True
            storage.wait_for_cleanups(1)
            storage.fails = False
            storage.wait_for_cleanups(1)
    told = [record for record in caplog.records if record.name == "recovery_app"]
    assert [record.levelname for record in told] == ["WARNING"] * 2


def test_a_count_that_fails_is_no_failed_clean_up(calls: Callable[[Any], Any]) -> None:
    class Uncountable(WatchedStorage):
        def estimate_count(self) -> int:
            raise StorageUnavailable("Uncountable", "count")

    class Hearing(Observer):
        def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
            if operation in ("cleanup", "count"):
                heard.append((operation, error is None))

    heard: list[tuple[str, bool]] = []
    hearing = Hearing()
    storage = Uncountable()
    observers.add(hearing)
    try:
        with make(storage) as manager:
            calls(manager).save(manager.create_token(SOCKET), STATE)
            storage.wait_for_cleanups(2)
    finally:
        observers.remove(hearing)
    assert heard[:4] == [("cleanup", True), ("count", False)] * 2


def test_a_manager_that_nobody_holds_takes_its_clean_up_with_it() -> None:
    storage = WatchedStorage()
    manager = make(storage)
    manager.save(manager.create_token(SOCKET), STATE)
    (thread,) = cleaners()
    gone = weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_a_manager_may_be_collected_while_the_storage_is_held_and_cleaned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the clean-up waits for the storage that this thread holds")

    storage = WatchedStorage()
    manager = make(storage)
    manager.save(manager.create_token(SOCKET), STATE)
    (thread,) = cleaners()
    with storage.exclusive(), monkeypatch.context() as patch:
        # Until one has begun that doesn't end: others may be over, or past the lock already.
        assert storage.begun.acquire(timeout=PATIENCE_SECONDS)
        while storage.cleaned.acquire(timeout=0.2):
            assert storage.begun.acquire(timeout=PATIENCE_SECONDS)
        patch.setattr(threading.Thread, "join", refuse)
        del manager
        gc.collect()
        assert thread.is_alive()
    thread.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("interval", [None, 60])
def test_there_is_no_clean_up_without_need(interval: float | None) -> None:
    class SelfCleaning(OwnStorage):
        expires_by_itself = True

    storage = OwnStorage(FakeClock()) if interval is None else SelfCleaning(FakeClock())
    with make_manager(storage=storage, cleanup_interval=interval) as manager:
        manager.save(manager.create_token(SOCKET), STATE)
        assert cleaners() == []


def test_a_cleaner_that_was_abandoned_does_not_start() -> None:
    cleaner = CleanupThread(WatchedStorage(), SOON)
    cleaner.abandon()
    cleaner.start()
    cleaner.stop()


# Closing.


def test_a_manager_closes_at_the_end_of_its_block() -> None:
    storage = WatchedStorage()
    with make(storage) as manager:
        manager.save(manager.create_token(SOCKET), STATE)
        assert len(cleaners()) == 1
    assert cleaners() == []


async def test_a_manager_closes_at_the_end_of_its_asynchronous_block() -> None:
    storage = WatchedStorage()
    async with make(storage) as manager:
        await manager.asave(manager.create_token(SOCKET), STATE)
        assert len(cleaners()) == 1
    assert cleaners() == []


async def test_closing_ends_the_threads_of_the_storage(clock: FakeClock) -> None:
    storage = OwnStorage(clock)
    # Threads of a storage that an earlier test has closed may still be making their last call.
    others = set(threading.enumerate())
    async with make_manager(storage=storage) as manager:
        await manager.asave(manager.create_token(SOCKET), STATE)
        new = set(threading.enumerate()) - others
        pool = [t for t in new if t.name.startswith("recovery_app-storage")]
        assert pool
    for thread in pool:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_the_managers_are_closed_at_exit() -> None:
    code = """
import asyncio, threading, django
django.setup()
from recovery_app import RecoveryManager, get_manager
from recovery_app.storages import MemoryStorage, Storage

class Telling(MemoryStorage):
    def close(self):
        super().close()
        print("closed", flush=True)
    asave_fenced = Storage.asave_fenced
    async def run(self, call):
        return await Storage.run(self, call)

manager = get_manager()
manager.storage.__class__ = Telling
token = manager.create_token("the socket")
asyncio.run(manager.asave(token, {"count": 1}))
other = RecoveryManager(secret=b"x" * 32)
other.save(other.create_token("the socket"), {"count": 1})
print(sorted(t.name for t in threading.enumerate() if t.name.startswith("recovery_app")))
"""
    lines = run_script(code, fresh=True).splitlines()
    assert lines == [
        "['recovery_app-cleaner', 'recovery_app-cleaner', 'recovery_app-storage_0']",
        "closed",
    ]
