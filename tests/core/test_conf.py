"""Tests of the setting ``RECOVERY``: its table (contract, section 2), and the manager to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from recovery_app import get_manager
from recovery_app.checks import check_storage
from recovery_app.conf import find_problems, get_settings
from recovery_app.exceptions import StateTooLarge
from recovery_app.serializers import JSONSerializer, MsgPackSerializer
from recovery_app.storages import DatabaseStorage, MemoryStorage, MigratingStorage, Storage
from tests.core.support import make_manager

SECRET = "the secret of the setting, long enough"
OTHER_KEY = "another key of the setting, long too"
SOCKET = "the socket"
STATE = {"count": 1}
MEMORY = "recovery_app.storages.MemoryStorage"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
DATABASE = "recovery_app.storages.DatabaseStorage"


def recovery(**keys: Any) -> Any:
    """Return a block in which the setting has these keys and no others."""
    return override_settings(RECOVERY=keys)


class OwnSerializer:
    def dumps(self, state: Mapping[str, Any]) -> bytes:
        return b"{}"

    def loads(self, data: bytes) -> dict[str, Any]:
        return {}


class Needy(OwnSerializer):
    def __init__(self, what: str) -> None:
        self.what = what


class FailingStorage(Storage):
    def __init__(self) -> None:
        raise ZeroDivisionError("in the storage")


def migrating(new: Any, old: Any) -> dict[str, Any]:
    """Return the entry of a storage that moves."""
    path = "recovery_app.storages.MigratingStorage"
    return {"BACKEND": path, "OPTIONS": {"new": new, "old": old}}


def test_a_storage_may_have_storages_as_options() -> None:
    new = {"BACKEND": DATABASE, "OPTIONS": {"timeout": 7}}
    with recovery(STORAGE=migrating(new, {"BACKEND": MEMORY})):
        storage = get_manager().storage
        assert isinstance(storage, MigratingStorage)
        assert isinstance(storage.new, DatabaseStorage)
        assert isinstance(storage.old, MemoryStorage)
        assert get_settings().storage() is not storage
        assert {check.id for check in check_storage()} == {"recovery_app.W001", "recovery_app.W016"}


@pytest.mark.parametrize(
    ("new", "problem", "hint"),
    [
        (MEMORY, "whose 'new' must be a dictionary, not str", f'Write {{"BACKEND": "{MEMORY}"}}.'),
        ({"BACKEND": f"{MEMORY}s"}, "whose 'new' can't import", f'Is it "{MEMORY}"?'),
        (3, "whose 'new' must have the form", "Write a dictionary like STORAGE itself"),
        (
            {"BACKEND": MEMORY, "OPTIONS": {"size": 3}},
            "whose 'new' has OPTIONS that MemoryStorage doesn't accept",
            "MemoryStorage has these OPTIONS: max_entries, max_bytes.",
        ),
        (
            {"BACKEND": "recovery_app.storages.RedisStorage"},
            "whose 'new' has no OPTIONS: ",
            "RedisStorage has these OPTIONS: ",
        ),
        ({"BACKEND": DATABASE}, "has the same storage twice", "Change one of new, old."),
    ],
)
def test_what_is_wrong_with_an_inner_storage(new: Any, problem: str, hint: str) -> None:
    with recovery(STORAGE=migrating(new, {"BACKEND": DATABASE})):
        (found,) = find_problems()
        assert problem in found.message
        assert found.hint.startswith(hint)


def test_an_inner_storage_that_cannot_be_built_is_checked() -> None:
    cache = {"BACKEND": "recovery_app.storages.CacheStorage", "OPTIONS": {"cache": "nowhere"}}
    with (
        override_settings(CACHES={"default": {"BACKEND": LOCMEM}}),
        recovery(STORAGE=migrating(cache, {"BACKEND": DATABASE})),
    ):
        (found,) = find_problems()
        assert "CACHES has no alias 'nowhere'" in found.message
        assert check_storage() == []


# The table.


def test_every_key_is_optional() -> None:
    with override_settings(RECOVERY={}):
        delattr(django_settings, "RECOVERY")
        assert find_problems() == []
        found, manager = get_settings(), get_manager()
    assert (found.ttl, found.token_max_age, found.cleanup_interval) == (300, 86_400, 60)
    assert found.max_state_bytes == 1_048_576
    assert found.metrics_namespace == "golivekit"
    assert found.encryption_keys is None
    assert found.seal is None
    assert found.serializer_fallbacks == ()
    assert found.redact == (
        "password", "passwd", "token", "secret", "api_key", "auth", "card", "cvv", "pin", "ssn",
        "cookie",
    )  # fmt: skip
    assert isinstance(manager.storage, MemoryStorage)
    assert manager.storage.max_entries == 10_000
    assert isinstance(manager.codec.serializer, JSONSerializer)
    assert manager.codec.max_state_bytes == 1_048_576
    assert (manager.ttl, manager.token_max_age) == (300, 86_400)


def test_every_key_counts() -> None:
    keys = {
        "SECRET": SECRET,
        "SECRET_FALLBACKS": [SECRET.encode()],
        "TTL": timedelta(minutes=1),
        "TOKEN_MAX_AGE": None,
        "STORAGE": {"BACKEND": DATABASE},
        "SERIALIZER": "recovery_app.serializers.MsgPackSerializer",
        "CLEANUP_INTERVAL": None,
        "MAX_STATE_BYTES": 10,
        "METRICS_NAMESPACE": "myapp",
        "ENCRYPTION_KEYS": [SECRET, OTHER_KEY.encode()],
        "SEAL": False,
        "SERIALIZER_FALLBACKS": [OwnSerializer],
        "REDACT": ["pin"],
    }
    with recovery(**keys):
        assert find_problems() == []
        found, manager = get_settings(), get_manager()
        assert get_manager() is manager
    assert found.encryption_keys == (SECRET.encode(), OTHER_KEY.encode())
    assert found.seal is False
    assert found.secret == SECRET.encode()
    assert found.secret_fallbacks == (SECRET.encode(),)
    assert (found.metrics_namespace, found.redact) == ("myapp", ("pin",))
    assert (manager.ttl, manager.token_max_age) == (60, None)
    assert isinstance(manager.storage, DatabaseStorage)
    assert isinstance(manager.codec.serializer, MsgPackSerializer)
    with pytest.raises(StateTooLarge):
        make_manager(max_state_bytes=found.max_state_bytes).save(
            make_manager().create_token(SOCKET), {"text": "x" * 10}
        )


@pytest.mark.parametrize(
    "serializer", [OwnSerializer, OwnSerializer(), f"{__name__}.OwnSerializer"]
)
def test_a_serializer_is_a_path_a_class_or_an_instance(serializer: Any) -> None:
    with recovery(SERIALIZER=serializer):
        assert isinstance(get_manager().codec.serializer, OwnSerializer)


@pytest.mark.parametrize("fallback", [OwnSerializer, OwnSerializer(), f"{__name__}.OwnSerializer"])
def test_a_fallback_is_a_path_a_class_or_an_instance_too(fallback: Any) -> None:
    with recovery(SERIALIZER_FALLBACKS=[fallback]):
        (found,) = get_settings().serializer_fallbacks
        assert get_manager().codec.decode(b"anything", f"{__name__}.OwnSerializer") == {}
    assert isinstance(found, OwnSerializer)


@pytest.mark.parametrize("key", ["k", "django-insecure-" + "0123456789" * 5])
def test_a_weak_secret_key_still_works(key: str) -> None:
    with override_settings(RECOVERY={}, SECRET_KEY=key, SECRET_KEY_FALLBACKS=["older"]):
        manager = get_manager()
        manager.save(token := manager.create_token(SOCKET), STATE)
        assert manager.recover(token) == STATE


def test_a_weak_fallback_still_verifies() -> None:
    with recovery(SECRET=SECRET, SECRET_FALLBACKS=["x" * 32]):
        older = make_manager(secret="x" * 32).create_token(SOCKET)
        assert get_manager().touch(older) is False


def test_a_storage_takes_its_options() -> None:
    with recovery(STORAGE={"BACKEND": MEMORY, "OPTIONS": {"max_entries": 2}}):
        storage = get_manager().storage
    assert isinstance(storage, MemoryStorage)
    assert storage.max_entries == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SECRET", ""),
        ("SECRET", "x" * 31),
        ("SECRET", "x" * 32),
        ("SECRET", b"xxxyyyz" * 8),
        ("SECRET", "\ud800" * 32),
        ("SECRET", 12345),
        ("SECRET_FALLBACKS", SECRET),
        ("SECRET_FALLBACKS", [SECRET, "x" * 31]),
        ("TTL", 0),
        ("TTL", -1),
        ("TTL", None),
        ("TTL", True),
        ("TTL", "300"),
        ("TTL", float("nan")),
        ("TTL", float("inf")),
        ("TTL", timedelta.max),
        ("TOKEN_MAX_AGE", 0),
        ("TOKEN_MAX_AGE", "forever"),
        ("CLEANUP_INTERVAL", timedelta(0)),
        ("STORAGE", MEMORY),
        ("STORAGE", {}),
        ("STORAGE", {"BACKEND": None}),
        ("STORAGE", {"BACKEND": MEMORY, "LOCATION": "x"}),
        ("STORAGE", {"BACKEND": MEMORY, "OPTIONS": {"colour": "red"}}),
        ("STORAGE", {"BACKEND": MEMORY, "OPTIONS": {"max_entries": 0}}),
        ("STORAGE", {"BACKEND": MEMORY, "OPTIONS": None}),
        ("STORAGE", {"BACKEND": "recovery_app.storages.NoStorage"}),
        ("STORAGE", {"BACKEND": "recovery_app.serializers.JSONSerializer"}),
        ("STORAGE", {"BACKEND": f"{__name__}.FailingStorage"}),
        ("STORAGE", {"BACKEND": DATABASE, "OPTIONS": {"database": "x"}}),
        ("SERIALIZER", None),
        ("SERIALIZER", "json"),
        ("SERIALIZER", "..json"),
        ("SERIALIZER", "no.such.Serializer"),
        ("SERIALIZER", Needy),
        ("SERIALIZER", dict),
        ("MAX_STATE_BYTES", 0),
        ("MAX_STATE_BYTES", True),
        ("MAX_STATE_BYTES", 1.5),
        ("METRICS_NAMESPACE", ""),
        ("METRICS_NAMESPACE", "my-app"),
        ("METRICS_NAMESPACE", None),
        ("ENCRYPTION_KEYS", []),
        ("ENCRYPTION_KEYS", SECRET),
        ("ENCRYPTION_KEYS", ["x" * 44]),
        ("ENCRYPTION_KEYS", [SECRET, SECRET[:31]]),
        ("ENCRYPTION_KEYS", [SECRET, 5]),
        ("SEAL", "yes"),
        ("SEAL", 1),
        ("SERIALIZER_FALLBACKS", None),
        ("SERIALIZER_FALLBACKS", "recovery_app.serializers.JSONSerializer"),
        ("SERIALIZER_FALLBACKS", ["no.such.Serializer"]),
        ("SERIALIZER_FALLBACKS", [dict]),
        ("SERIALIZER_FALLBACKS", [OwnSerializer, OwnSerializer()]),
        ("REDACT", "password"),
        ("REDACT", [1]),
    ],
)
def test_a_bad_value_names_its_key_and_tells_no_secret(key: str, value: Any) -> None:
    with recovery(**{key: value}):
        (problem,) = find_problems()
        for ask in (get_settings, get_manager):
            with pytest.raises(ImproperlyConfigured) as raised:
                ask()
            assert str(raised.value) == problem.message
            assert raised.value.__cause__ is None
    assert problem.key == key
    assert problem.message.startswith(f"RECOVERY[{key!r}] ")
    assert problem.message.endswith(".")
    assert "xxx" not in problem.message
    assert SECRET not in problem.message
    assert "\ud800" not in problem.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    with recovery(TTL=0, SEKRET="x" * 32, secret=1):
        problems = find_problems()
        assert [problem.key for problem in problems] == ["TTL", "SEKRET", "secret"]
        with pytest.raises(ImproperlyConfigured) as raised:
            get_manager()
    for problem in problems:
        assert problem.message in str(raised.value)
    assert "has no key 'SEKRET', only SECRET, " in str(raised.value)
    assert "xxx" not in str(raised.value)


@pytest.mark.parametrize("value", [None, "x", [("TTL", 300)], {"TTL"}])
def test_the_setting_is_a_dictionary(value: Any) -> None:
    with override_settings(RECOVERY=value):
        with pytest.raises(ImproperlyConfigured, match="RECOVERY must be a dictionary"):
            get_manager()
        assert [problem.key for problem in find_problems()] == [""]


@pytest.mark.parametrize("key", [1, ("TTL",), None])
def test_a_key_of_any_type_may_be_wrong(key: Any) -> None:
    with override_settings(RECOVERY={key: 1}):
        (problem,) = find_problems()
    assert problem.key == str(key)


def test_no_repr_tells_a_secret() -> None:
    with recovery(SECRET=SECRET, SECRET_FALLBACKS=[SECRET], ENCRYPTION_KEYS=[SECRET]):
        found, manager = get_settings(), get_manager()
    assert SECRET not in f"{found!r} {manager!r} {manager.__dict__!r}"
