"""The system checks: one id for each bad setting and for each trap that settings show."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Info, Warning, run_checks  # noqa: A004
from django.core.exceptions import ImproperlyConfigured

from recovery_app import checks, get_manager
from recovery_app.conf import Settings
from recovery_app.serializers import JSONSerializer
from recovery_app.storages import MemoryStorage, Storage
from tests.support.processes import TOP

CACHES = "django.core.cache.backends"
LAYER = "channels_redis.core.RedisChannelLayer"
URL = "redis://127.0.0.1:6379"
GOOD_SECRET = "6c1f0b7a9e42d8356c1f0b7a9e42d835"


class DerivedCache(LocMemCache):
    """A cache such as django-prometheus derives from Django's."""


class StorageOfTwoSteps(Storage):
    """A storage that keeps the defaults, and so can't fence in one step."""


class FailingStorage(Storage):
    """A storage that can't be made."""

    def __init__(self) -> None:
        raise RuntimeError("on purpose")


class FailingSerializer(JSONSerializer):
    """A serializer that can't be made."""

    def __init__(self) -> None:
        raise RuntimeError("on purpose")


def run() -> dict[str, CheckMessage]:
    """Run our checks as ``manage.py check`` does; give the messages by their numbers."""
    return {number_of(message): message for message in run_checks(tags=[checks.TAG])}


def number_of(message: CheckMessage) -> str:
    assert isinstance(message.id, str)
    app, _, number = message.id.partition(".")
    assert app == "recovery_app"
    return number


def numbers_of_cache() -> set[str]:
    """Run the checks of the storage; leave out what they say of every cache or of memory."""
    return {number_of(message) for message in checks.check_storage()} - {"W001", "W002"}


def keep_in_cache(settings: Any, backend: str, **options: Any) -> None:
    """Keep snapshots in a cache, as the setting will say once there is a `CacheStorage`."""
    settings.CACHES = {
        "default": {"BACKEND": f"{CACHES}.dummy.DummyCache"},
        "kept": {"BACKEND": backend, "OPTIONS": options},
    }
    storage = {"BACKEND": "recovery_app.storages.CacheStorage", "OPTIONS": {"cache": "kept"}}
    settings.RECOVERY = {"STORAGE": storage}


# Bad settings


@pytest.mark.parametrize(
    ("number", "key", "value"),
    [
        ("E002", "TIMEOUT", 5),
        ("E002", "ttl", 5),
        ("E002", 7, 5),
        ("E003", "SECRET", "too short"),
        ("E003", "SECRET", "a" * 32),
        ("E003", "SECRET", b"password" * 8),
        ("E003", "SECRET", 10**40),
        ("E003", "SECRET", "\ud800" * 40),
        ("E004", "SECRET_FALLBACKS", "x" * 40),
        ("E004", "SECRET_FALLBACKS", ["x" * 40, None]),
        ("E005", "TTL", 0),
        ("E005", "TTL", None),
        ("E005", "TTL", True),
        ("E005", "TTL", float("nan")),
        ("E005", "TTL", timedelta(seconds=-1)),
        ("E006", "TOKEN_MAX_AGE", "1 day"),
        ("E006", "TOKEN_MAX_AGE", float("inf")),
        ("E007", "STORAGE", None),
        ("E007", "STORAGE", "recovery_app.storages.MemoryStorage"),
        ("E007", "STORAGE", {"OPTIONS": {}}),
        ("E007", "STORAGE", {"BACKEND": "recovery_app.storages.MemoryStorage", "TTL": 5}),
        ("E007", "STORAGE", {"BACKEND": MemoryStorage}),
        ("E007", "STORAGE", {"BACKEND": "nowhere.Storage"}),
        ("E007", "STORAGE", {"BACKEND": "recovery_app.storages.Entry"}),
        ("E007", "STORAGE", {"BACKEND": f"{__name__}.FailingStorage"}),
        (
            "E007",
            "STORAGE",
            {"BACKEND": "recovery_app.storages.MemoryStorage", "OPTIONS": {"entries": 5}},
        ),
        ("E007", "STORAGE", {"BACKEND": "recovery_app.storages.MemoryStorage", "OPTIONS": 5}),
        ("E007", "STORAGE", {"BACKEND": "recovery_app.storages.CacheStorage", "OPTIONS": [5]}),
        (
            "E007",
            "STORAGE",
            {"BACKEND": "recovery_app.storages.DatabaseStorage", "OPTIONS": {"database": "x"}},
        ),
        ("E008", "SERIALIZER", "nowhere"),
        ("E008", "SERIALIZER", object()),
        ("E008", "SERIALIZER", f"{__name__}.FailingSerializer"),
        ("E009", "CLEANUP_INTERVAL", -1),
        ("E010", "MAX_STATE_BYTES", 1.5),
        ("E010", "MAX_STATE_BYTES", 0),
        ("E011", "METRICS_NAMESPACE", "two words"),
        ("E011", "METRICS_NAMESPACE", ""),
        ("E012", "ENCRYPTION_KEYS", ["x" * 32]),
        ("E012", "ENCRYPTION_KEYS", GOOD_SECRET),
        ("E017", "SEAL", "on"),
        ("E013", "REDACT", "password"),
        ("E014", "MAX_FRAME_BYTES", 0),
        ("E015", "JOIN_RATE", "20 per second"),
        ("E016", "SERIALIZER_FALLBACKS", JSONSerializer),
        ("E016", "SERIALIZER_FALLBACKS", ["nowhere"]),
    ],
)
def test_bad_value_is_an_error(settings: Any, number: str, key: Any, value: object) -> None:
    settings.RECOVERY = {key: value}
    found = run()
    assert [each for each in found if each.startswith("E")] == [number]
    assert isinstance(found[number], Error)
    assert "RECOVERY" in found[number].msg
    assert str(key) in found[number].msg
    assert found[number].hint
    with pytest.raises(ImproperlyConfigured, match=str(key)):
        get_manager()


@pytest.mark.parametrize("value", [None, [], "TTL", 300])
def test_setting_that_is_no_dictionary_is_an_error(settings: Any, value: object) -> None:
    settings.RECOVERY = value
    assert list(run()) == ["E001"]


def test_each_bad_value_is_told(settings: Any) -> None:
    settings.RECOVERY = {"TTL": 0, "REDACT": 5, "SERIALIZER": "nowhere"}
    assert sorted(run()) == ["E005", "E008", "E013"]


def test_secret_that_can_not_be_derived_is_an_error(settings: Any) -> None:
    settings.SECRET_KEY = ""
    settings.RECOVERY = {}
    assert list(run()) == ["E003"]
    settings.RECOVERY = {"SECRET": GOOD_SECRET}
    assert "E003" not in run()


def test_misspelt_key_is_answered_with_the_right_one(settings: Any) -> None:
    settings.RECOVERY = {"max_state_byte": 5}
    assert run()["E002"].hint == "Is it MAX_STATE_BYTES?"
    settings.RECOVERY = {"colour": 5}
    assert run()["E002"].hint == "Take it out."


OURS = "recovery_app.storages"


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("STORAGE", f"{OURS}.DatabaseStorage", f'Write {{"BACKEND": "{OURS}.DatabaseStorage"}}.'),
        ("STORAGE", {"BACKEND": f"{OURS}.Databasestorage"}, f'Is it "{OURS}.DatabaseStorage"?'),
        ("STORAGE", {"BACKEND": "DatabaseStorage"}, f'Is it "{OURS}.DatabaseStorage"?'),
        (
            "STORAGE",
            {"BACKEND": "nowhere.DatabaseStorage"},
            "Correct the dotted path, or what the import of that module raises.",
        ),
        (
            "STORAGE",
            {"BACKEND": f"{OURS}.MemoryStorage", "OPTIONS": {"entries": 5}},
            "MemoryStorage has these OPTIONS: max_entries, max_bytes.",
        ),
        (
            "STORAGE",
            {"BACKEND": f"{OURS}.DatabaseStorage", "OPTIONS": {"alias": "x"}},
            "DatabaseStorage has these OPTIONS: database, timeout, listen.",
        ),
        (
            "STORAGE",
            {"BACKEND": f"{__name__}.FailingStorage"},
            "FailingStorage has these OPTIONS: none.",
        ),
        ("SERIALIZER", "json", 'Is it "recovery_app.serializers.JSONSerializer"?'),
        (
            "SERIALIZER",
            "recovery_app.serializers.MsgpackSerializer",
            'Is it "recovery_app.serializers.MsgPackSerializer"?',
        ),
        (
            "SERIALIZER_FALLBACKS",
            [JSONSerializer, JSONSerializer],
            "Keep one of them, or give one a `name` of its own.",
        ),
        ("SECRET_FALLBACKS", ["short"], "Remove it: it can't have signed anything."),
        ("TTL", "5m", "Use a number of seconds above 0, such as 300, or timedelta(minutes=5)."),
    ],
)
def test_a_hint_fits_its_cause(settings: Any, key: str, value: object, hint: str) -> None:
    settings.RECOVERY = {key: value}
    (found,) = [message for number, message in run().items() if number.startswith("E")]
    assert found.hint == hint
    assert not found.msg.endswith("..")


def test_a_storage_whose_package_is_missing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": f"{OURS}.RedisStorage"}}
    real = importlib.import_module

    def without_redis(name: str) -> Any:
        if name == "recovery_app.storages.redis":
            raise ModuleNotFoundError("No module named 'redis'", name="redis")
        return real(name)

    monkeypatch.setattr("recovery_app.storages.import_module", without_redis)
    message = run()["E007"]
    assert "pip install 'django-recovery-app[redis]'" in message.msg
    assert message.hint == "Install that, and check again."


@pytest.mark.parametrize(
    ("ttl", "max_age", "told"),
    [
        (3600, 7200, False),
        (3601, 7200, True),
        (timedelta(days=3), timedelta(days=1), True),
        (timedelta(days=3), None, False),
    ],
)
def test_a_token_that_lasts_less_long_than_its_snapshot(
    settings: Any, ttl: object, max_age: object, told: bool
) -> None:
    settings.RECOVERY = {"TTL": ttl, "TOKEN_MAX_AGE": max_age}
    assert [number_of(message) for message in checks.check_times()] == (["W013"] if told else [])


@pytest.mark.parametrize(
    ("argv", "app", "told"),
    [
        (["manage.py", "runserver"], "django.contrib.staticfiles", True),
        (["manage.py", "runserver", "8001"], "django.core", True),
        (["manage.py", "runserver"], "daphne", False),
        (["manage.py", "check"], "django.core", False),
        (["uvicorn", "mysite.asgi:application"], "django.core", False),
        (["manage.py"], "django.core", False),
    ],
)
def test_a_runserver_without_websockets(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], app: str, told: bool
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(checks, "get_commands", lambda: {"runserver": app})
    found = checks.check_server()
    assert [number_of(message) for message in found] == (["W012"] if told else [])


def test_a_key_beside_the_dictionary_is_told_where_it_belongs(settings: Any) -> None:
    settings.RECOVERY = {"TTL": 60}
    for name in ("TTL", "JOIN_RATE", "SECRET"):
        setattr(settings, f"RECOVERY_{name}", "a value that is " + "s3cret" * 6)
    settings.RECOVERY_MODE = "another application's"
    found = [each for each in run_checks(tags=[checks.TAG]) if number_of(each) == "W017"]
    texts = sorted(str(message) for message in found)
    assert len(texts) == 3
    assert "RECOVERY_JOIN_RATE" in texts[0]
    assert 'RECOVERY = {"TTL": …}' in texts[2]
    assert "s3cret" not in "".join(texts)


def test_no_secret_is_in_a_message(settings: Any) -> None:
    settings.RECOVERY = {"SECRET": "hush", "SECRET_FALLBACKS": ["hush"]}
    for message in run().values():
        assert "hush" not in f"{message.msg} {message.hint}"


def test_good_setting_passes(settings: Any) -> None:
    settings.RECOVERY = {
        "SECRET": GOOD_SECRET.encode(),
        "SECRET_FALLBACKS": [GOOD_SECRET],
        "TTL": timedelta(minutes=5),
        "TOKEN_MAX_AGE": None,
        "STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"},
        "SERIALIZER": "recovery_app.serializers.MsgPackSerializer",
        "CLEANUP_INTERVAL": None,
        "MAX_STATE_BYTES": 1,
        "METRICS_NAMESPACE": "shop",
        "ENCRYPTION_KEYS": [GOOD_SECRET],
        "SEAL": True,
        "SERIALIZER_FALLBACKS": [JSONSerializer],
        "REDACT": ["pin"],
    }
    assert run() == {}


# Bad settings don't hinder the start, or nobody would hear what is bad about them


GOOD = "{'STORAGE': {'BACKEND': 'recovery_app.storages.DatabaseStorage'}}"


def check_in_a_process(directory: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run ``django-admin check`` with settings of its own, warnings as errors."""
    common = """
SECRET_KEY = "0123456789" * 5
USE_TZ = True
INSTALLED_APPS = ["channels", "recovery_app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3"}}
"""
    (directory / "own_settings.py").write_text(common + source)
    (directory / "raises_at_import.py").write_text("raise RuntimeError('on purpose')")
    path = os.pathsep.join((str(directory), str(TOP)))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "check"],
        cwd=directory,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "own_settings", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("RECOVERY = 'a string'", "E001"),
        ("RECOVERY = {'METRICS_NAMESPACE': 5}", "E011"),
        ("RECOVERY = {'STORAGE': {'BACKEND': 'raises_at_import.Storage'}}", "E007"),
        ("SECRET_KEY = ''", "E003"),
    ],
)
def test_bad_setting_is_reported_at_the_start(tmp_path: Path, source: str, number: str) -> None:
    done = check_in_a_process(tmp_path, source)
    assert done.returncode == 1
    assert f"(recovery_app.{number})" in done.stderr
    assert "Traceback" not in done.stderr


def test_good_setting_starts_without_a_word(tmp_path: Path) -> None:
    done = check_in_a_process(tmp_path, f"RECOVERY = {GOOD}")
    assert (done.returncode, done.stderr) == (0, "")


# Traps


INSECURE = "django-insecure-" + "0123456789" * 5


@pytest.mark.parametrize("key", ["k" * 60, "0123456789" * 4, b"short", INSECURE, INSECURE.encode()])
def test_weak_secret_key(settings: Any, key: Any) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
    settings.SECRET_KEY = key
    found = run()
    assert list(found) == ["W011"]
    assert isinstance(found["W011"], Warning)
    assert "SECRET_KEY" in found["W011"].msg
    assert str(key) not in f"{found['W011'].msg} {found['W011'].hint}"
    settings.RECOVERY = {**settings.RECOVERY, "SECRET": GOOD_SECRET}
    assert run() == {}
    settings.RECOVERY = {"STORAGE": settings.RECOVERY["STORAGE"]}
    settings.DEBUG = True
    assert run() == {}


def test_weak_fallbacks(settings: Any) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
    settings.SECRET_KEY_FALLBACKS = ["0123456789" * 5, "short"]
    assert "SECRET_KEY_FALLBACKS[1]" in run()["W011"].msg
    settings.RECOVERY = {**settings.RECOVERY, "SECRET_FALLBACKS": [GOOD_SECRET, "x" * 32]}
    assert "RECOVERY['SECRET_FALLBACKS'][1]" in run()["W011"].msg


def test_memory_of_one_process_in_production(settings: Any) -> None:
    del settings.RECOVERY
    assert isinstance(run()["W001"], Warning)
    settings.DEBUG = True
    assert run() == {}


def test_storage_without_an_atomic_fence(settings: Any) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": f"{__name__}.StorageOfTwoSteps"}}
    settings.DEBUG = True
    found = run()
    assert list(found) == ["W002"]
    assert "StorageOfTwoSteps" in found["W002"].msg


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        (True, {}),
        (True, {"ENGINE": "django.db.backends.mysql", "CONN_MAX_AGE": 0}),
        (False, {"CONN_MAX_AGE": 60}),
        (False, {"CONN_MAX_AGE": None}),
        (False, {"OPTIONS": {"pool": True}}),
        (False, {"ENGINE": "django.db.backends.sqlite3"}),
    ],
)
def test_database_that_is_connected_to_at_each_call(
    settings: Any, monkeypatch: pytest.MonkeyPatch, told: bool, changes: dict[str, Any]
) -> None:
    database = {"ENGINE": "django.db.backends.postgresql", **changes}
    monkeypatch.setitem(settings.DATABASES, "own", database)
    storage = {"BACKEND": "recovery_app.storages.DatabaseStorage", "OPTIONS": {"database": "own"}}
    settings.RECOVERY = {"STORAGE": storage}
    found = run()
    assert list(found) == (["I001"] if told else [])
    if told:
        assert isinstance(found["I001"], Info)
        assert "'own'" in found["I001"].msg
    settings.DEBUG = True
    assert run() == {}


POSTGIS, MYSQL = "django.contrib.gis.db.backends.postgis", "django.db.backends.mysql"
OF_POSTGRESQL = '"connect_timeout": 3, "tcp_user_timeout": 10000'
OF_MYSQL = '"connect_timeout": 3, "read_timeout": 10, "write_timeout": 10'


@pytest.mark.parametrize(
    ("line", "engine", "options"),
    [
        (OF_POSTGRESQL, "django.db.backends.postgresql", {}),
        (OF_POSTGRESQL, POSTGIS, {"connect_timeout": "0", "tcp_user_timeout": None}),
        ('"tcp_user_timeout": 10000', "psqlextra.backend.postgresql", {"connect_timeout": 3}),
        ("", POSTGIS, {"connect_timeout": "3", "tcp_user_timeout": 5000}),
        ("", POSTGIS, {"service": "of_a_file"}),
        (OF_MYSQL, MYSQL, None),
        ('"write_timeout": 10', MYSQL, {"connect_timeout": 3, "read_timeout": 9}),
        ("", MYSQL, {"connect_timeout": 3, "read_timeout": 9, "write_timeout": 9}),
        ("", MYSQL, {"read_default_file": "my.cnf"}),
        ("", MYSQL, {"unix_socket": "/run/mysqld.sock"}),
        ("", "django.db.backends.sqlite3", {"timeout": 20}),
        ("", "django.db.backends.oracle", {}),
    ],
)
def test_a_database_whose_silence_nothing_ends(
    settings: Any, monkeypatch: pytest.MonkeyPatch, line: str, engine: str, options: Any
) -> None:
    database = {"ENGINE": engine, "HOST": "db", "CONN_MAX_AGE": 60, "OPTIONS": options}
    monkeypatch.setitem(settings.DATABASES, "own", database)
    storage = {"BACKEND": "recovery_app.storages.DatabaseStorage", "OPTIONS": {"database": "own"}}
    settings.RECOVERY = {"STORAGE": storage}
    found = run()
    assert list(found) == (["W015"] if line else [])
    if line:
        assert found["W015"].hint == f"Add to its OPTIONS: {line}."
        assert isinstance(found["W015"], Warning)
        assert "'own'" in found["W015"].msg
    for host in ("", "/run/postgresql"):
        database["HOST"] = host
        assert run() == {}
    database["HOST"] = "db"
    settings.DEBUG = True
    assert run() == {}


def test_a_time_limit_of_the_environment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database = {"ENGINE": POSTGIS, "HOST": "db", "CONN_MAX_AGE": 60}
    database["OPTIONS"] = {"tcp_user_timeout": 5000}
    monkeypatch.setitem(settings.DATABASES, "own", database)
    storage = {"BACKEND": "recovery_app.storages.DatabaseStorage", "OPTIONS": {"database": "own"}}
    settings.RECOVERY = {"STORAGE": storage}
    assert list(run()) == ["W015"]
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "5")
    assert run() == {}
    # Nothing of MySQL's reads that one.
    database.update(ENGINE=MYSQL, OPTIONS={"read_timeout": 5, "write_timeout": 5})
    assert run()["W015"].hint == 'Add to its OPTIONS: "connect_timeout": 3.'


@pytest.mark.parametrize(
    ("told", "version", "changes"),
    [
        (True, "7.4.1", {}),
        (True, "7.4.1", {"LOCATION": f"{URL}/1", "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 3}}),
        # django-redis keeps one pool for each address.
        (False, "7.4.1", {"LOCATION": f"{URL}/2", "OPTIONS": {"SOCKET_TIMEOUT": 3}}),
        (
            False,
            "7.4.1",
            {
                "LOCATION": f"{URL}/3",
                "OPTIONS": {"CONNECTION_POOL_KWARGS": {"socket_timeout": 3}},
            },
        ),
        (False, "7.4.1", {"LOCATION": f"{URL}?socket_timeout=3"}),
        (False, "8.0.0", {}),
    ],
)
def test_redis_by_a_cache_that_waits_for_ever(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: bool,
    version: str,
    changes: dict[str, Any],
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL, **changes}
    }
    storage = "recovery_app.storages.RedisStorage"
    settings.RECOVERY = {"STORAGE": {"BACKEND": storage, "OPTIONS": {"cache": "default"}}}
    run()  # What it imports can't be found any more afterwards.
    install_redis_py(monkeypatch, tmp_path, version)
    found = run()
    assert list(found) == (["W009"] if told else [])
    if told:
        assert "'default'" in found["W009"].msg
    settings.RECOVERY = {"STORAGE": {"BACKEND": storage, "OPTIONS": {"url": URL}}}
    assert run() == {}


@pytest.mark.parametrize("backend", [f"{CACHES}.locmem.LocMemCache", f"{__name__}.DerivedCache"])
def test_cache_in_the_memory_of_one_process(settings: Any, backend: str) -> None:
    keep_in_cache(settings, backend, MAX_ENTRIES=100_000)
    assert numbers_of_cache() == {"W003"}
    assert "'kept'" in run()["W003"].msg
    settings.DEBUG = True
    assert numbers_of_cache() == set()


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "db.DatabaseCache"])
@pytest.mark.parametrize(
    ("limit", "options"),
    [
        (300, {}),
        (300, {"MAX_ENTRIES": "many"}),
        (300, {"MAX_ENTRIES": 300}),
        (10, {"MAX_ENTRIES": "10"}),
    ],
)
def test_cache_of_300_entries(
    settings: Any, backend: str, limit: int, options: dict[str, Any]
) -> None:
    settings.DEBUG = True
    keep_in_cache(settings, f"{CACHES}.{backend}", **options)
    assert numbers_of_cache() == {"W004"}
    assert f"{limit} entries" in run()["W004"].msg


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("filebased.FileBasedCache", {"MAX_ENTRIES": 301}),
        ("db.DatabaseCache", {"MAX_ENTRIES": "100000"}),
        ("redis.RedisCache", {"socket_timeout": 3}),
        ("memcached.PyMemcacheCache", {"timeout": 3}),
    ],
)
def test_cache_that_holds_enough(settings: Any, backend: str, options: dict[str, Any]) -> None:
    keep_in_cache(settings, f"{CACHES}.{backend}", **options)
    assert numbers_of_cache() == set()


def test_cache_that_ignores_exceptions(settings: Any) -> None:
    limits = {"SOCKET_TIMEOUT": 3, "socket_timeout": 3}
    keep_in_cache(settings, DJANGO_REDIS, IGNORE_EXCEPTIONS=True, **limits)
    assert numbers_of_cache() == {"W005"}
    settings.DJANGO_REDIS_IGNORE_EXCEPTIONS = True
    keep_in_cache(settings, DJANGO_REDIS, **limits)
    assert numbers_of_cache() == {"W005"}
    keep_in_cache(settings, DJANGO_REDIS, IGNORE_EXCEPTIONS=False, **limits)
    assert numbers_of_cache() == set()
    keep_in_cache(settings, DJANGOS_REDIS, IGNORE_EXCEPTIONS=True, **limits)
    assert numbers_of_cache() == set()


DJANGO_REDIS, DJANGOS_REDIS = "django_redis.cache.RedisCache", f"{CACHES}.redis.RedisCache"
PYMEMCACHE = f"{CACHES}.memcached.PyMemcacheCache"


@pytest.mark.parametrize(
    ("told", "version", "backend", "options", "location"),
    [
        (True, "8.0.0", PYMEMCACHE, {}, ""),
        (True, "8.0.0", PYMEMCACHE, {"timeout": None, "connect_timeout": 3}, ""),
        (False, "", PYMEMCACHE, {"timeout": 3}, ""),
        (True, "7.4.1", DJANGOS_REDIS, {}, URL),
        (True, "7.4.1", DJANGOS_REDIS, {"socket_connect_timeout": 3}, [URL]),
        (True, "7.4.1", DJANGOS_REDIS, {}, [f"{URL}?socket_timeout=3", URL]),
        (False, "7.4.1", DJANGOS_REDIS, {}, [f"{URL}?socket_timeout=3"]),
        (False, "7.4.1", DJANGOS_REDIS, {"socket_timeout": 3}, URL),
        (False, "8.0.0", DJANGOS_REDIS, {}, URL),
        (True, "7.4.1", DJANGO_REDIS, {"socket_timeout": 3}, URL),
        (False, "7.4.1", DJANGO_REDIS, {"SOCKET_TIMEOUT": 3}, URL),
        (False, "7.4.1", DJANGO_REDIS, {"CONNECTION_POOL_KWARGS": {"socket_timeout": 3}}, URL),
        (False, "8.0.0", DJANGO_REDIS, {}, URL),
    ],
)
def test_cache_that_waits_for_ever(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: bool,
    version: str,
    backend: str,
    options: dict[str, Any],
    location: Any,
) -> None:
    keep_in_cache(settings, backend, **options)
    settings.CACHES["kept"]["LOCATION"] = location
    numbers_of_cache()  # What it imports can't be found any more afterwards.
    install_redis_py(monkeypatch, tmp_path, version)
    assert numbers_of_cache() == ({"W010"} if told else set())


def test_cache_that_keeps_nothing(settings: Any) -> None:
    keep_in_cache(settings, f"{CACHES}.dummy.DummyCache")
    assert numbers_of_cache() == {"W006"}


def test_cache_is_the_default_one_unless_told(settings: Any) -> None:
    keep_in_cache(settings, f"{CACHES}.redis.RedisCache")
    settings.RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.CacheStorage"}}
    assert numbers_of_cache() == {"W006"}


@pytest.mark.parametrize(
    "recovery",
    [
        None,
        {},
        {"STORAGE": None},
        {"STORAGE": {"BACKEND": None}},
        {"STORAGE": {"BACKEND": "recovery_app.storages.MemoryStorage"}},
        {"STORAGE": {"BACKEND": "recovery_app.storages.CacheStorage", "OPTIONS": {"cache": 5}}},
    ],
)
def test_caches_for_other_things_are_no_matter_of_ours(settings: Any, recovery: object) -> None:
    keep_in_cache(settings, f"{CACHES}.dummy.DummyCache")
    settings.RECOVERY = recovery
    assert numbers_of_cache() == set()


def install_redis_py(monkeypatch: pytest.MonkeyPatch, directory: Path, version: str) -> None:
    """Make it look as if only this version of redis-py were installed, or none for ``""``."""
    if version:
        metadata = directory / f"redis-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: redis\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(directory)])


OLD, NEW = "7.4.1", "8.0.0b1"


@pytest.mark.parametrize(
    ("told", "version", "hosts"),
    [
        # By default redis-py 8 waits as long as the layer does, and those before it for ever.
        (True, NEW, None),
        (True, NEW, []),
        (True, NEW, [URL]),
        (True, NEW, [("127.0.0.1", 6379)]),
        (True, NEW, [{"address": URL}]),
        (True, NEW, [{"host": "127.0.0.1", "port": 6379}]),
        (True, NEW, [{"master_name": "main", "sentinels": [("127.0.0.1", 26379)]}]),
        (False, OLD, [URL]),
        (False, "", [URL]),
        # What is set counts, wherever it is; in the URL before anything else.
        (False, NEW, [{"address": URL, "socket_timeout": 30}]),
        (False, NEW, [{"address": URL, "socket_timeout": None}]),
        (False, NEW, [f"{URL}?socket_timeout=30"]),
        (False, NEW, [{"address": f"{URL}?socket_timeout=30", "socket_timeout": 1}]),
        (True, NEW, [f"{URL}?db=1&socket_timeout=5"]),
        (True, OLD, [{"address": URL, "socket_timeout": 5}]),
        (True, NEW, [{"address": URL, "socket_timeout": 30}, URL]),
        # What channels_redis will refuse by itself.
        (True, NEW, URL),
        (True, NEW, [f"{URL}?socket_timeout=soon"]),
    ],
)
def test_channel_layer_that_gives_up(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: bool,
    version: str,
    hosts: object,
) -> None:
    install_redis_py(monkeypatch, tmp_path, version)
    config = {} if hosts is None else {"hosts": hosts}
    settings.CHANNEL_LAYERS = {"live": {"BACKEND": LAYER, "CONFIG": config}}
    settings.RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
    found = run()
    assert list(found) == (["W007"] if told else [])
    if told:
        assert "'live'" in found["W007"].msg


@pytest.mark.parametrize(
    "layers",
    [
        {},
        None,
        {"default": None},
        {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}},
        {"default": {"BACKEND": "tests.test_checks.run"}},
    ],
)
def test_channel_layers_that_wait(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layers: object
) -> None:
    install_redis_py(monkeypatch, tmp_path, NEW)
    settings.CHANNEL_LAYERS = layers
    assert "W007" not in run()


def test_session_key_that_changes_with_each_save(settings: Any) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert list(run()) == ["W008"]
    middleware = settings.MIDDLEWARE
    settings.MIDDLEWARE = [*middleware, "recovery_app.middleware.RecoveryMiddleware"]
    assert run() == {}
    settings.MIDDLEWARE = middleware
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    assert run() == {}


# Ids


def test_each_key_has_an_id_of_its_own() -> None:
    assert set(checks._KEYS) == {name.upper() for name in Settings.__dataclass_fields__}
    assert len({number for number, _ in checks._KEYS.values()}) == len(checks._KEYS)


def test_each_id_is_documented_once() -> None:
    modules = [Path(checks.__file__), *(TOP / "recovery_app" / "storages").rglob("*.py")]
    source = "".join(module.read_text() for module in modules)
    page = (TOP / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `recovery_app\.([EWI]\d{3})` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(set(re.findall(r'"([EWI]\d{3})"', source)))
