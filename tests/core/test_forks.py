"""Tests of forked workers: each goes on with what it inherits, whatever the parent held."""

from __future__ import annotations

import os

import pytest

from tests.core.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# Forks a child that runs what is in `work()`, and fails with it. Python warns of forking with
# threads, which is what this is about.
PRELUDE = """
import asyncio, os, sys, threading, warnings
import django
django.setup()
from recovery_app import RecoveryManager, get_manager
from recovery_app._concurrency import timestamps_of
from recovery_app.storages import MemoryStorage, Storage
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")

class Threaded(MemoryStorage):
    asave_fenced = Storage.asave_fenced
    async def run(self, call):
        return await Storage.run(self, call)

def names():
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("recovery_app"))

def in_child(work):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_child_has_threads_of_its_own() -> None:
    code = """
manager = RecoveryManager(secret=b"x" * 32, storage=Threaded(), cleanup_interval=60)
token = manager.create_token("the socket")
asyncio.run(manager.asave(token, {"count": 1}))
before = names()

def work():
    assert names() == [], names()
    assert asyncio.run(manager.arecover(token)) == {"count": 1}
    asyncio.run(manager.asave(token, {"count": 2}))
    assert names() == before, names()
    manager.close()
    assert "recovery_app-cleaner" not in names()

in_child(work)
assert asyncio.run(manager.arecover(token)) == {"count": 1}
assert names() == before == ["recovery_app-cleaner", "recovery_app-storage_0"]
manager.close()
print("done")
"""
    assert run_script(PRELUDE + code) == "done\n"


def test_a_child_waits_for_no_lock_that_the_parent_held() -> None:
    code = """
manager = get_manager()
token = manager.create_token("the socket")
manager.save(token, {"count": 1})
from recovery_app import conf
locks = [
    manager.storage._lock,
    manager._cleanup._lock,
    conf._singleton._lock,
    timestamps_of(manager.clock)._lock,
]
held, done = threading.Event(), threading.Event()

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    done.wait()
    for lock in reversed(locks):
        lock.release()

holder = threading.Thread(target=hold)
holder.start()
held.wait()

def work():
    assert get_manager() is manager
    newer = manager.create_token("the socket")
    assert newer != token
    manager.save(newer, {"count": 2})
    assert manager.recover(newer) == {"count": 2}
    assert names() == ["recovery_app-cleaner"]
    conf._singleton.close()
    assert get_manager() is not manager

in_child(work)
done.set()
holder.join()
assert manager.recover(token) == {"count": 1}
print("done")
"""
    assert run_script(PRELUDE + code) == "done\n"


def test_a_child_of_a_closed_manager_starts_no_clean_up() -> None:
    code = """
manager = RecoveryManager(secret=b"x" * 32)
token = manager.create_token("the socket")
manager.save(token, {"count": 1})
manager.close()

def work():
    manager.save(token, {"count": 2})
    assert names() == []

in_child(work)
print("done")
"""
    assert run_script(PRELUDE + code) == "done\n"


def test_what_is_gone_is_forgotten_in_a_child() -> None:
    code = """
import gc
from recovery_app import _concurrency as forking

class Forked:
    def after_fork(self):
        print("forked", flush=True)

kept, gone = Forked(), Forked()
forking.register_after_fork(kept)
forking.register_after_fork(gone)
del gone
gc.collect()
in_child(lambda: None)
"""
    assert run_script(PRELUDE + code) == "forked\n"
