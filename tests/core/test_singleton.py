"""Tests of the manager of the process: the settings: its secrets, and when it is built anew."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import recovery_app
from recovery_app import RecoveryManager, get_manager
from recovery_app.conf import get_settings
from recovery_app.exceptions import InvalidSignature
from recovery_app.middleware import current_manager, override_manager
from recovery_app.storages import MemoryStorage
from tests.core.support import make_manager

SECRET = "the secret of the setting, long enough"
SOCKET = "the socket"
STATE = {"count": 1}


def recovery(**keys: Any) -> Any:
    """Return a block in which the setting has these keys and no others."""
    return override_settings(RECOVERY=keys)


# Secrets.


def test_the_secret_comes_from_djangos_own_by_a_salt_of_its_own() -> None:
    with override_settings(SECRET_KEY="a", SECRET_KEY_FALLBACKS=["b", "c"], RECOVERY={}):
        found = get_settings()
        assert len({found.secret, *found.secret_fallbacks}) == 3
        assert all(len(secret) == 32 for secret in (found.secret, *found.secret_fallbacks))
        assert b"a" * 2 not in found.secret
    with override_settings(SECRET_KEY="b", RECOVERY={}):
        assert get_settings().secret == found.secret_fallbacks[0]


def test_djangos_secret_can_be_rotated() -> None:
    with override_settings(SECRET_KEY="old", RECOVERY={}):
        token = get_manager().create_token(SOCKET)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"], RECOVERY={}):
        get_manager().save(token, STATE)
        rotated = get_manager().create_token(SOCKET)
    with override_settings(SECRET_KEY="new", RECOVERY={}):
        get_manager().save(rotated, STATE)
        with pytest.raises(InvalidSignature):
            get_manager().save(token, STATE)


def test_the_secret_can_rotate_alone() -> None:
    with recovery(SECRET=SECRET):
        token = get_manager().create_token(SOCKET)
    with recovery(SECRET=SECRET * 2, SECRET_FALLBACKS=[SECRET]):
        get_manager().save(token, STATE)
    with recovery(SECRET=SECRET * 2), pytest.raises(InvalidSignature):
        get_manager().save(token, STATE)


@pytest.mark.parametrize("secret_key", ["", None])
def test_without_djangos_secret_one_of_its_own_is_needed(secret_key: Any) -> None:
    without = override_settings(SECRET_KEY=secret_key, RECOVERY={})
    with without, pytest.raises(ImproperlyConfigured):
        get_manager()
    with override_settings(SECRET_KEY="", RECOVERY={"SECRET": SECRET, "SECRET_FALLBACKS": []}):
        assert get_manager().create_token(SOCKET)


# The manager of the process.


def test_a_change_takes_effect_at_once() -> None:
    with recovery(TTL=100):
        outer = get_manager()
        assert outer.ttl == 100
        with recovery(TTL=200):
            assert get_manager().ttl == 200
        assert get_manager().ttl == 100
        assert get_manager() is not outer


def test_a_change_closes_the_manager_before() -> None:
    before = set(threading.enumerate())
    with recovery(CLEANUP_INTERVAL=60):
        manager = get_manager()
        manager.save(manager.create_token(SOCKET), STATE)
        (thread,) = set(threading.enumerate()) - before
        assert thread.name == "recovery_app-cleaner"
    assert not thread.is_alive()


@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEY_FALLBACKS", "CACHES"])
def test_what_a_manager_is_built_from_counts_as_well(name: str) -> None:
    manager = get_manager()
    with override_settings(**{name: getattr(settings, name)}):
        assert get_manager() is not manager


def test_other_settings_change_nothing() -> None:
    manager = get_manager()
    with override_settings(USE_TZ=False):
        assert get_manager() is manager


class SlowStorage(MemoryStorage):
    """A storage that lets other threads run while it is made."""

    def __init__(self) -> None:
        super().__init__()
        threading.Event().wait(0.01)


def test_threads_that_ask_at_once_get_the_same_manager() -> None:
    together = threading.Barrier(8)

    def ask(_number: int) -> RecoveryManager:
        together.wait()
        return get_manager()

    slow = {"BACKEND": f"{__name__}.SlowStorage"}
    with recovery(STORAGE=slow), ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


def test_another_manager_may_take_its_place_for_a_while() -> None:
    other = make_manager()
    with override_manager(other) as given:
        assert given is other
        assert current_manager() is other
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(current_manager).result() is get_manager()
    assert current_manager() is get_manager()


def test_the_package_gives_what_the_contract_names() -> None:
    assert recovery_app.get_manager is get_manager
    assert recovery_app.RecoveryManager is RecoveryManager
    assert isinstance(get_manager(), RecoveryManager)
