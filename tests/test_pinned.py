"""Everything public, pinned: names, signatures, frames, bytes, metrics, checks, tables.

Each test compares what the code says or does with ``tests/pinned.json``. Only import paths that
are public are used here, so these tests pass unchanged however the inside is arranged.

Where a change is meant, write the file anew with ``REPIN=1 pytest tests/test_pinned.py`` and
review its diff. Names may be added; whatever is pinned must stay as it is. Bytes and tokens in
the section ``old`` are never written anew, since such bytes are in storages and pages.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import copy
import difflib
import inspect
import io
import json
import logging
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.core import checks
from django.core.management import call_command, load_command_class
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.template.loader import get_template
from django.test import RequestFactory, override_settings
from django.urls import path
from django.utils.crypto import salted_hmac
from prometheus_client import REGISTRY

import recovery_app
from recovery_app import RecoveryManager, exceptions, fencing, get_manager, signals, values
from recovery_app.consumers import (
    JoinRefused,
    RecoveryConsumerMixin,
    SyncRecoveryConsumerMixin,
)
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.middleware import override_manager
from recovery_app.models import JournalEntry, Snapshot, StoredReport, StoredSnapshot
from recovery_app.serializers import JSONSerializer, MsgPackSerializer
from recovery_app.storages import Entry, MemoryStorage, MigratingStorage, Storage, describe
from tests.support.needs import require

PACKAGE = Path(recovery_app.__file__).parent
TOP = Path(__file__).resolve().parents[1]
FILE = TOP / "tests" / "pinned.json"
REPIN = os.environ.get("REPIN") == "1"
SECRET = b"the secret of what is pinned, always the same"
NOW = 1_700_000_000.0
TTL = 300
urlpatterns = [path("admin/", admin.site.urls)]


# The machinery.


def compare(name: str, found: Any) -> None:
    """Fail with a diff unless ``found`` is what is pinned under ``name``."""
    found = json.loads(json.dumps(found))
    golden = _read()
    if REPIN:
        golden[name] = found
        FILE.write_text(_text(dict(sorted(golden.items()))))
        return
    if found != golden.get(name):
        lines = difflib.unified_diff(
            _text(golden.get(name)).splitlines(),
            _text(found).splitlines(),
            "pinned",
            "found",
            lineterm="",
        )
        diff = "\n".join(lines)
        pytest.fail(f"{name} isn't as it is pinned:\n{diff}", pytrace=False)


def compare_known(name: str, found: Mapping[str, Any]) -> None:
    """Do as `compare`, but allow names that aren't pinned."""
    known = found if REPIN else _read()[name]
    compare(name, {key: value for key, value in found.items() if key in known})


def _read() -> dict[str, Any]:
    golden: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return golden


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def old(name: str, make: Callable[[], Any]) -> Any:
    """Return bytes or tokens as they were pinned once; ``make`` them where they never were."""
    golden = _read()
    kept = golden.setdefault("old", {})
    if REPIN and name not in kept:
        kept[name] = make()
        FILE.write_text(_text(dict(sorted(golden.items()))))
    return kept[name]


def signature(call: Any) -> str:
    """Return names, kinds and defaults of the parameters, without annotations."""
    found = inspect.signature(call)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
    return str(inspect.Signature(bare))


def member(owner: type, name: str) -> str:
    """Return a method's signature, or an attribute's default."""
    static = inspect.getattr_static(owner, name)
    value = getattr(owner, name)
    if isinstance(static, property) or type(static).__name__ == "cached_property":
        return "property"
    if inspect.ismemberdescriptor(static):
        return "field"
    if inspect.isfunction(inspect.unwrap(value)) or inspect.ismethod(value):
        return signature(value)
    return repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


def public_members(owner: type) -> dict[str, str]:
    return {name: member(owner, name) for name in dir(owner) if not name.startswith("_")}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Recorder(Storage):
    """A storage with the three methods that each needs; keeps what it was given to save."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.saved: list[bytes] = []
        self.is_down = False

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._fail("save")
        self.saved.append(data)
        self.kept[key] = data, self.clock() + ttl

    def load(self, key: str) -> bytes | None:
        self._fail("load")
        data, until = self.kept.get(key, (None, 0.0))
        return data if until > self.clock() else None

    def delete(self, key: str) -> bool:
        return self.kept.pop(key, None) is not None

    def _fail(self, operation: str) -> None:
        if self.is_down:
            raise exceptions.StorageUnavailable("Recorder", operation)


def make_manager(clock: Clock, **options: Any) -> RecoveryManager:
    options = {"storage": Recorder(clock), **options}
    return RecoveryManager(secret=SECRET, ttl=TTL, cleanup_interval=None, clock=clock, **options)


# Import paths.

PUBLIC = {
    "recovery_app": [
        "RecoveryManager",
        "__version__",
        "astart_state",
        "get_manager",
        "groups",
        "start_state",
    ],
    "recovery_app.admin": ["JournalAdmin", "LiveAdmin", "SnapshotAdmin"],
    "recovery_app.apps": ["RecoveryConfig"],
    "recovery_app.chaos": ["Kind", "Plan", "Process", "Proxy", "Storm"],
    "recovery_app.chaos.storages": ["failing_over", "stopping"],
    "recovery_app.clock": ["Clock"],
    "recovery_app.consumers": [
        "JoinRefused",
        "RecoveryConsumerMixin",
        "SyncRecoveryConsumerMixin",
    ],
    "recovery_app.drain": ["RecoveryDrain"],
    "recovery_app.exceptions": [
        "InvalidSignature",
        "JoinRefused",
        "MalformedToken",
        "RecoveryError",
        "SnapshotCorrupt",
        "SnapshotError",
        "SnapshotNotFound",
        "StateTooLarge",
        "StorageError",
        "StorageUnavailable",
        "TokenError",
        "TokenExpired",
        "TokenSuperseded",
        "UnserializableState",
        "VersionMismatch",
    ],
    "recovery_app.fencing": [
        "Claim",
        "Decision",
        "Verdict",
        "decide_renewal",
        "decide_revocation",
        "decide_save",
        "decide_takeover",
        "decide_touch",
    ],
    "recovery_app.groups": ["apublish", "publish"],
    "recovery_app.health": ["StorageHealth", "acheck_storage"],
    "recovery_app.health_plugin": ["RecoveryStorage"],
    "recovery_app.middleware": [
        "RecoveryMiddleware",
        "RecoveryMiddlewareStack",
        "RecoveryScopeMiddleware",
        "current_manager",
        "ensure_visitor",
        "override_manager",
    ],
    "recovery_app.models": ["JournalEntry", "Snapshot", "StoredReport", "StoredSnapshot"],
    "recovery_app.serializers": [
        "BUILTIN",
        "JSONSerializer",
        "MsgPackSerializer",
        "Serializer",
        "serializer_name",
    ],
    "recovery_app.signals": ["Observer", "observers", "recovery_failed", "state_recovered"],
    "recovery_app.storages": [
        "CacheStorage",
        "DatabaseStorage",
        "Entry",
        "EntryPage",
        "MemoryStorage",
        "MigratingStorage",
        "RedisStorage",
        "Storage",
        "describe",
    ],
    "recovery_app.testing": [
        "TEST_SETTINGS",
        "ConnectionClosed",
        "FailingStorage",
        "ManualClock",
        "RecoveryCommunicator",
        "RecoveryTestMixin",
        "StorageContract",
        "temporary_manager",
    ],
    "recovery_app.testing.plugin": [
        "recovery_clock",
        "recovery_manager",
        "recovery_options",
        "recovery_storage",
    ],
    "recovery_app.values": [
        "Incident",
        "IncidentPage",
        "IncidentQuery",
        "Inspection",
        "JournalLimits",
        "LivePage",
        "Page",
        "ProcessReport",
        "Query",
        "Sample",
        "SnapshotInfo",
        "Takeover",
    ],
}
STAR = [
    "recovery_app",
    "recovery_app.admin",
    "recovery_app.chaos",
    "recovery_app.consumers",
    "recovery_app.middleware",
    "recovery_app.serializers",
    "recovery_app.storages",
    "recovery_app.testing",
]
"""Modules that say in ``__all__`` what they export."""


def require_optional() -> None:
    for name in ("health_check", "redis", "websockets"):
        require(name, find_spec(name))


def load(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("module", PUBLIC)
def test_import_paths(module: str) -> None:
    require_optional()
    loaded = import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(loaded, name)] == []


@pytest.mark.parametrize("module", STAR)
def test_all(module: str) -> None:
    exported = import_module(module).__all__
    missing = [name for name in PUBLIC[module] if name not in exported]
    assert [name for name in missing if not name.startswith("__")] == []


def test_documented_imports() -> None:
    """What the documentation imports can be imported."""
    require_optional()
    texts = [TOP / "README.md", TOP / "CHANGELOG.md", *(TOP / "docs").glob("*.md")]
    found = set()
    for text in texts:
        for module, names in re.findall(
            r"^ *from (recovery_app[\w.]*) import ([\w, ]+)", text.read_text(), re.MULTILINE
        ):
            found |= {f"{module}.{name.strip()}" for name in names.split(",")}
    assert {
        "recovery_app.RecoveryManager",
        "recovery_app.consumers.RecoveryConsumerMixin",
        "recovery_app.middleware.override_manager",
        "recovery_app.values.Query",
    } <= found
    for dotted in sorted(found):
        load(dotted)
        module, _, name = dotted.rpartition(".")
        assert name in PUBLIC[module], f"{dotted} is documented and isn't pinned."


def test_app() -> None:
    config = apps.get_app_config("recovery_app")
    compare(
        "app",
        {
            "name": config.name,
            "label": config.label,
            "default_auto_field": config.default_auto_field,
            "class": f"{type(config).__module__}.{type(config).__qualname__}",
            "version": bool(re.fullmatch(r"\d+\.\d+\.\d+\S*", recovery_app.__version__)),
        },
    )


# Signatures.

MANAGER = [
    "create_token", "touch_interval", "save", "asave", "recover", "arecover", "take_over",
    "atake_over", "touch", "atouch", "revoke", "arevoke", "renew", "arenew", "cleanup_expired",
    "acleanup_expired", "snapshots", "asnapshots", "count", "acount", "browse", "abrowse",
    "sample", "asample", "inspect", "ainspect", "revoke_socket", "arevoke_socket", "revoke_user",
    "arevoke_user", "digests_of_user", "incidents", "aincidents", "prune_journal",
    "aprune_journal", "processes", "aprocesses", "close", "aclose", "__init__",
    "__enter__", "__exit__", "__aenter__", "__aexit__",
]  # fmt: skip
HOOKS = [
    "mount", "handle_event", "authorize_join", "should_recover", "get_recoverable_state",
    "restore_state", "after_recover", "get_recovery_binding", "get_recovery_view",
    "migrate_state", "missed_messages", "join_group", "leave_group", "push", "renew_recovery",
    "recovery_topics", "recovery_fields",
    "recovery_version", "recovery_save_interval", "recovery_handler_timeout", "recovery_max_topics",
    "recovery_topic",
    "recovery_keep_on_login",
    "save_recovery",
]  # fmt: skip
CALLABLES = [
    "recovery_app.get_manager",
    "recovery_app.astart_state",
    "recovery_app.start_state",
    "recovery_app.chaos.storages.failing_over",
    "recovery_app.chaos.storages.stopping",
    "recovery_app.drain.RecoveryDrain",
    "recovery_app.drain.RecoveryDrain.drain",
    "recovery_app.drain.RecoveryDrain.__call__",
    "recovery_app.exceptions.JoinRefused",
    "recovery_app.fencing.Claim",
    "recovery_app.fencing.Decision",
    "recovery_app.fencing.decide_renewal",
    "recovery_app.fencing.decide_revocation",
    "recovery_app.fencing.decide_save",
    "recovery_app.fencing.decide_takeover",
    "recovery_app.fencing.decide_touch",
    "recovery_app.groups.apublish",
    "recovery_app.groups.publish",
    "recovery_app.health.StorageHealth",
    "recovery_app.health.acheck_storage",
    "recovery_app.health_plugin.RecoveryStorage",
    "recovery_app.middleware.RecoveryMiddleware",
    "recovery_app.middleware.RecoveryMiddleware.__call__",
    "recovery_app.middleware.RecoveryMiddlewareStack",
    "recovery_app.middleware.RecoveryScopeMiddleware",
    "recovery_app.middleware.RecoveryScopeMiddleware.__call__",
    "recovery_app.middleware.current_manager",
    "recovery_app.middleware.ensure_visitor",
    "recovery_app.middleware.override_manager",
    "recovery_app.serializers.JSONSerializer",
    "recovery_app.serializers.JSONSerializer.dumps",
    "recovery_app.serializers.JSONSerializer.loads",
    "recovery_app.serializers.MsgPackSerializer",
    "recovery_app.serializers.MsgPackSerializer.dumps",
    "recovery_app.serializers.MsgPackSerializer.loads",
    "recovery_app.serializers.serializer_name",
    "recovery_app.signals.observers.add",
    "recovery_app.signals.observers.remove",
    "recovery_app.storages.CacheStorage",
    "recovery_app.storages.DatabaseStorage",
    "recovery_app.storages.Entry",
    "recovery_app.storages.EntryPage",
    "recovery_app.storages.MemoryStorage",
    "recovery_app.storages.MigratingStorage",
    "recovery_app.storages.MigratingStorage.migrate_batches",
    "recovery_app.storages.MigratingStorage.remaining",
    "recovery_app.storages.RedisStorage",
    "recovery_app.storages.Storage",
    "recovery_app.storages.describe",
    "recovery_app.testing.FailingStorage",
    "recovery_app.testing.FailingStorage.failing",
    "recovery_app.testing.ManualClock.advance",
    "recovery_app.testing.RecoveryCommunicator",
    "recovery_app.testing.RecoveryCommunicator.close",
    "recovery_app.testing.RecoveryCommunicator.come_back",
    "recovery_app.testing.RecoveryCommunicator.connect",
    "recovery_app.testing.RecoveryCommunicator.crash",
    "recovery_app.testing.RecoveryCommunicator.drop",
    "recovery_app.testing.RecoveryCommunicator.join",
    "recovery_app.testing.RecoveryCommunicator.next_push",
    "recovery_app.testing.RecoveryCommunicator.push",
    "recovery_app.testing.RecoveryCommunicator.push_again",
    "recovery_app.testing.RecoveryCommunicator.token",
    "recovery_app.testing.temporary_manager",
    "recovery_app.values.Incident",
    "recovery_app.values.IncidentPage",
    "recovery_app.values.IncidentQuery",
    "recovery_app.values.IncidentQuery.admits",
    "recovery_app.values.Inspection",
    "recovery_app.values.JournalLimits",
    "recovery_app.values.LivePage",
    "recovery_app.values.Page",
    "recovery_app.values.ProcessReport",
    "recovery_app.values.Query",
    "recovery_app.values.Query.admits",
    "recovery_app.values.Sample",
    "recovery_app.values.SnapshotInfo",
    "recovery_app.values.Takeover",
]


def find(dotted: str) -> Any:
    """Return what a dotted path names, in a module, a class or an object."""
    names = dotted.split(".")
    for size in range(len(names), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            found: Any = import_module(".".join(names[:size]))
            for name in names[size:]:
                found = getattr(found, name)
            return found
    raise AssertionError(dotted)


def test_signatures() -> None:
    require_optional()
    compare("signatures", {dotted: signature(find(dotted)) for dotted in CALLABLES})


def test_manager() -> None:
    compare("manager", {name: member(RecoveryManager, name) for name in MANAGER})


def test_manager_attributes() -> None:
    clock, storage = Clock(), MemoryStorage()
    with RecoveryManager(secret="s" * 32, storage=storage, clock=clock) as manager:
        assert manager.storage is storage
        assert manager.clock is clock
        assert (manager.ttl, manager.token_max_age, manager.touch_interval) == (300, 86400, 75)
    with RecoveryManager(secret="s" * 32, ttl=timedelta(minutes=1), token_max_age=None) as manager:
        assert isinstance(manager.storage, MemoryStorage)
        assert (manager.ttl, manager.token_max_age) == (60, None)


def test_storage_contract() -> None:
    compare_known("storage", public_members(Storage))


@pytest.mark.parametrize(
    "name", ["CacheStorage", "DatabaseStorage", "MemoryStorage", "RedisStorage"]
)
def test_storage_capabilities(name: str) -> None:
    require_optional()
    storage = load(f"recovery_app.storages.{name}")
    says = [
        "supports_atomic_fence", "supports_listing", "supports_native_async", "expires_by_itself",
        "supports_journal", "supports_reports",
        "keeps_expired", "sortable_by", "is_shared",
    ]  # fmt: skip
    compare(f"storage {name}", {each: member(storage, each) for each in says})
    assert issubclass(storage, Storage)


@pytest.mark.parametrize("mixin", [RecoveryConsumerMixin, SyncRecoveryConsumerMixin])
def test_mixins(mixin: type) -> None:
    compare("mixins", {name: member(mixin, name) for name in HOOKS})


def test_mixin_hooks_are_async() -> None:
    hooks = [name for name in HOOKS if not name.startswith("recovery_")]
    assert all(inspect.iscoroutinefunction(getattr(RecoveryConsumerMixin, n)) for n in hooks)
    assert not any(
        inspect.iscoroutinefunction(getattr(SyncRecoveryConsumerMixin, n)) for n in hooks
    )


def test_observer() -> None:
    compare_known("observer", public_members(signals.Observer))


def test_fields_and_reprs() -> None:
    info = values.SnapshotInfo(socket_hash="ab", expires_in_seconds=1.5, size_bytes=2)
    given = [
        values.Takeover(
            state={"secret": 1}, socket_id="s", token="secret", applied_seq=None, version=0,
            view="v", topic="t", issued_us=1, shown_us=2, payload=b"secret", replies=b"secret",
        ),
        info,
        values.Page(items=[info]),
        values.Query(),
        values.Sample(items=[], total=0),
        values.Inspection(info=info, stored_bytes=3, state={"secret": 1}),
    ]  # fmt: skip
    compare("reprs", [repr(value) for value in given])
    query = values.Query(prefix="a")
    assert (query.is_search, values.Query().is_search) == (True, False)
    assert (query.admits(info), values.Query().admits(info)) == (False, True)


def test_middleware_attributes() -> None:
    kind = load("recovery_app.middleware.RecoveryMiddleware")
    assert (kind.sync_capable, kind.async_capable) == (True, True)
    with make_manager(Clock()) as manager, override_manager(manager):
        request = RequestFactory().get("/")
        kind(lambda request: request)(request)
        assert request.recovery is manager  # type: ignore[attr-defined]


async def test_scope_middleware() -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["recovery"])

    with make_manager(Clock()) as manager, make_manager(Clock()) as own:
        with override_manager(manager):
            app = load("recovery_app.middleware.RecoveryScopeMiddleware")(inner)
            await app({"type": "websocket"}, None, None)
            await app({"type": "websocket", "recovery": own}, None, None)
        assert seen == [manager, own]


CHAOS = {
    "Plan": ["make"],
    "Process": ["kill", "output", "pid", "restart", "signal", "start", "stop"],
    "Proxy": ["__aenter__", "__aexit__", "port", "swallow", "url", "ws_url"],
    "Storm": ["blow_for"],
}
"""What is public of each part, as in ``docs/chaos.md``."""


def test_chaos() -> None:
    require_optional()
    kinds = {each.name: each.value for each in load("recovery_app.chaos.Kind")}
    found: dict[str, Any] = {"Kind": kinds}
    for name, members in CHAOS.items():
        kind = load(f"recovery_app.chaos.{name}")
        found[name] = {"": signature(kind), **{each: member(kind, each) for each in members}}
    compare("chaos", found)
    assert list(load("recovery_app.chaos.Proxy")([1]).links) == []


def test_chaos_options() -> None:
    require_optional()
    shown = subprocess.run(
        [sys.executable, "-m", "recovery_app.chaos", "--help"],
        cwd=TOP,
        env={**os.environ, "COLUMNS": "500", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = {}
    for option, value, rest in re.findall(
        r"^  (--[a-z-]+)((?: \S+)*|(?: '[^']*'))?(?: {2,}(.*))?$", shown, re.MULTILINE
    ):
        # A default that isn't a number or a name is described in words, which may change.
        default = re.search(r"\(default: ([^ ]+)\)", rest)
        options[option] = [value.strip(), default and default[1]]
    compare("chaos options", dict(sorted(options.items())))


def test_cleanup_options() -> None:
    parser = load_command_class("recovery_app", "cleanup_recovery").create_parser("manage.py", "c")
    names = {"--dry-run", "--batch-size", "--json"}
    found = {
        " ".join(action.option_strings): [action.dest, action.default, action.nargs]
        for action in parser._actions
        if names & set(action.option_strings)
    }
    compare("cleanup options", found)


def test_revoke_options() -> None:
    parser = load_command_class("recovery_app", "revoke_recovery").create_parser("manage.py", "r")
    names = {"--user", "--user-pk", "--socket", "--json"}
    found = {
        " ".join(action.option_strings): [action.dest, action.default, action.nargs]
        for action in parser._actions
        if names & set(action.option_strings)
    }
    compare("revoke options", found)


def test_migrate_options() -> None:
    parser = load_command_class("recovery_app", "migrate_recovery").create_parser("manage.py", "m")
    names = {"--dry-run", "--batch-size", "--json"}
    found = {
        " ".join(action.option_strings): [action.dest, action.default, action.nargs]
        for action in parser._actions
        if names & set(action.option_strings)
    }
    compare("migrate options", found)


def test_migrate_output() -> None:
    storage = MigratingStorage(MemoryStorage(), MemoryStorage())
    with make_manager(Clock(), storage=storage) as manager, override_manager(manager):
        out = io.StringIO()
        call_command("migrate_recovery", "--json", stdout=out)
    line = json.loads(out.getvalue())
    line |= {name: type(line[name]).__name__ for name in ("note", "seconds")}
    compare("migrate output", line)


def test_revoke_output() -> None:
    with make_manager(Clock(), storage=MemoryStorage()) as manager, override_manager(manager):
        manager.save(manager.create_token("one"), {"count": 1})
        out = io.StringIO()
        call_command("revoke_recovery", "--json", "--socket", "one", stdout=out)
    line = json.loads(out.getvalue())
    compare("revoke output", line | {"note": type(line["note"]).__name__})


def test_cleanup_output() -> None:
    clock = Clock()
    with make_manager(clock, storage=MemoryStorage(clock=clock)) as manager:
        manager.save(manager.create_token("one"), {"count": 1})
        clock.now += TTL + 1
        out = io.StringIO()
        with override_manager(manager):
            command = load_command_class("recovery_app", "cleanup_recovery")
            command.stdout = type(command.stdout)(out)
            options = {"verbosity": 1, "traceback": False, "no_color": True, "force_color": False}
            command.execute(
                dry_run=False, batch_size=5000, json=True, skip_checks=True,
                stdout=out, **options,
            )  # fmt: skip
        line = json.loads(out.getvalue())
        line |= {name: type(line[name]).__name__ for name in ("note", "seconds")}
        compare("cleanup output", line)


# Errors.

ERRORS: list[Exception] = [
    exceptions.RecoveryError("A message.", socket_hash="ab"),
    exceptions.TokenError("A message."),
    exceptions.MalformedToken("it is short"),
    exceptions.InvalidSignature(socket_hash="ab"),
    exceptions.TokenExpired(age_seconds=7.5, limit_seconds=5, socket_hash="ab"),
    exceptions.TokenSuperseded(socket_hash="ab"),
    exceptions.TokenSuperseded(revoked=True),
    exceptions.SnapshotError("A message."),
    exceptions.SnapshotNotFound(socket_hash="ab"),
    exceptions.SnapshotCorrupt("it is cut short", socket_hash="ab"),
    exceptions.StateTooLarge(size_bytes=2, limit_bytes=1, socket_hash="ab"),
    exceptions.UnserializableState("state.a", "it is a set", socket_hash="ab"),
    exceptions.VersionMismatch(stored=2, supported=1, socket_hash="ab"),
    exceptions.VersionMismatch(stored=2, supported=1, of_format=True),
    exceptions.StorageError("A message."),
    exceptions.StorageUnavailable("Redis", "save", socket_hash="ab"),
    exceptions.JoinRefused("not today"),
    exceptions.JoinRefused(),
]


def test_errors() -> None:
    found = [
        {
            "class": type(error).__name__,
            "bases": [base.__name__ for base in type(error).__mro__[1:-2]],
            "signature": signature(type(error)),
            "reason": getattr(error, "reason", None),
            "text": str(error),
            "attributes": vars(error),
        }
        for error in ERRORS
    ]
    compare("errors", found)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_can_be_copied(error: Exception) -> None:
    for made in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(made), str(made), vars(made)) == (type(error), str(error), vars(error))


# Fencing.


def test_verdicts() -> None:
    names = ["DONE", "ABSENT", "FENCED", "REVOKED", "FOREIGN", "NEWER", "UNREADABLE"]
    compare("verdicts", {name: getattr(Verdict, name).value for name in names})
    assert len(Verdict) == len(names)
    claim = Claim(issued_us=1, binding=b"b")
    assert (claim.issued_us, claim.binding) == (1, b"b")
    assert Claim(1, b"b") == claim
    assert Decision(Verdict.DONE) == Decision(verdict=Verdict.DONE, data=None)


def test_decisions() -> None:
    data = bytes.fromhex(old("snapshots", make_snapshots)["save"])
    marker = bytes.fromhex(old("snapshots", make_snapshots)["revoke"])
    bound, us = data[48:64], int(NOW * 1e6)
    mine, early = Claim(us + 5, bound), Claim(us - 5, bound)
    theirs = Claim(us + 5, bytes(16))
    now = {"now_us": us + 9}
    takeover: dict[str, Any] = {**now, "newest_version": None}
    stored = {"nothing": None, "snapshot": data, "marker": marker, "rubbish": b"rubbish"}
    claims = {"mine": mine, "early": early, "theirs": theirs}
    found: dict[str, Any] = {}
    for what, kept in stored.items():
        made = {"save": fencing.decide_save(kept, data)}
        for who, claim in claims.items():
            made |= {
                f"touch by {who}": fencing.decide_touch(kept, claim),
                f"takeover by {who}": fencing.decide_takeover(kept, claim, **takeover),
                f"renewal by {who}": fencing.decide_renewal(kept, claim, **now, binding=bytes(16)),
                f"revocation by {who}": fencing.decide_revocation(kept, claim, **now),
            }
        found[what] = {
            name: [decision.verdict.value, decision.data and decision.data.hex()]
            for name, decision in made.items()
        }
    newer = struct.pack(">I", 7).join((data[:4], data[8:]))
    refused = fencing.decide_takeover(newer, mine, **now, newest_version=6)
    assert (refused.verdict, refused.data) == (Verdict.NEWER, newer)
    compare("decisions", found)


# Bytes.

STATE = {"count": 3, "name": "größe", "list": [1, 2.5, None, True], "map": {"a": "b"}}
RICH: dict[str, Any] = {
    "bytes": b"\x00\xff",
    "date": date(2026, 2, 28),
    "datetime": datetime(2026, 2, 28, 1, 2, 3, 4),
    "datetime_aware": datetime(2026, 2, 28, 1, 2, 3, tzinfo=timezone.utc),
    "datetime_fold": datetime(2026, 2, 28, 1, 2, 3, fold=1),
    "datetime_offset": datetime(2026, 2, 28, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "decimal": Decimal("1.10"),
    "float": 0.1,
    "int": -7,
    "int_64": 2**64 - 1,
    "int_large": 2**70,
    "list": [[], {}, "", None, False],
    "text": "größe",
    "text_like": "~date:2026-02-28",
    "time": time(1, 2, 3, 4),
    "time_aware": time(1, 2, tzinfo=timezone.utc),
    "timedelta": timedelta(days=-1, microseconds=7),
    "uuid": UUID("12345678123456781234567812345678"),
}
SERIALIZERS: dict[str, Any] = {"json": JSONSerializer(), "msgpack": MsgPackSerializer()}


@pytest.mark.parametrize("name", SERIALIZERS)
def test_serialized(name: str) -> None:
    serializer = SERIALIZERS[name]
    assert serializer.name == name
    states = {"all": RICH, "plain": STATE, **{key: {"v": value} for key, value in RICH.items()}}
    found = {key: serializer.dumps(state).hex() for key, state in states.items()}
    compare(f"serialized {name}", found)
    for key, data in _read()[f"serialized {name}"].items():
        loaded = serializer.loads(bytes.fromhex(data))
        assert repr(loaded) == repr(states[key])


def test_tuples_come_back_as_lists() -> None:
    for serializer in SERIALIZERS.values():
        assert serializer.loads(serializer.dumps({"v": (1, (2,))})) == {"v": [1, [2]]}


def run_calls(manager: RecoveryManager, clock: Clock) -> Iterator[tuple[str, str]]:
    """Make each call that writes, one second after the other; yield each token."""
    token = manager.create_token("socket-1", binding=b"me")
    yield "create_token", token
    manager.save(token, STATE, binding=b"me", view="a view", topic="lv:größe", version=0)
    yield "save", token
    clock.now += 1
    manager.save(
        token, {"n": 1}, binding=b"me", applied_seq=7, version=3, view="a view", topic="lv:t"
    )
    yield "save again", token
    clock.now += 1
    token = manager.take_over(token, binding=b"me").token
    yield "take_over", token
    clock.now += 1
    manager.save(token, RICH, binding=b"me", applied_seq=0)
    yield "save after take_over", token
    clock.now += 1
    token = manager.renew(token, binding=b"me", new_binding=b"you")
    yield "renew", token
    clock.now += 1
    assert manager.touch(token, binding=b"you")
    yield "touch", token
    clock.now += 1
    manager.revoke(token, binding=b"you")
    yield "revoke", token


def make_snapshots(serializer: Any = None) -> dict[str, str]:
    clock = Clock()
    storage = Recorder(clock)
    with make_manager(clock, storage=storage, serializer=serializer) as manager:
        found = {}
        for name, _token in run_calls(manager, clock):
            found[name] = b"".join(storage.saved).hex()
            storage.saved.clear()
    return found


def make_tokens() -> dict[str, str]:
    clock = Clock()
    with make_manager(clock) as manager:
        return dict(run_calls(manager, clock))


def test_tokens() -> None:
    assert make_tokens() == old("tokens", make_tokens)


@pytest.mark.parametrize("name", SERIALIZERS)
def test_snapshots(name: str) -> None:
    """The bytes that a storage of one's own is given; after a touch as well as before."""
    compare(f"snapshots {name}", make_snapshots(SERIALIZERS[name]))


def test_default_serializer() -> None:
    assert make_snapshots() == _read()["snapshots json"]


def opened(data: str, token_time: float = NOW, **options: Any) -> RecoveryManager:
    """Return a manager whose storage holds old bytes."""
    clock = Clock(token_time)
    storage = Recorder(clock)
    for token in old("tokens", make_tokens).values():
        storage.kept[key_of(token)] = bytes.fromhex(data), token_time + TTL
    return make_manager(clock, storage=storage, **options)


def key_of(token: str) -> str:
    """Return the key under which a token's snapshot is stored: its first 8 bytes."""
    return base64.urlsafe_b64decode(token)[:8].hex()


@pytest.mark.parametrize("name", SERIALIZERS)
@pytest.mark.parametrize("current", SERIALIZERS)
def test_old_snapshots_are_read(name: str, current: str) -> None:
    """Whatever the serializer is now."""
    made = old(
        "snapshots" if name == "json" else f"snapshots {name}",
        lambda: make_snapshots(SERIALIZERS[name]),
    )
    tokens = old("tokens", make_tokens)
    serializer = SERIALIZERS[current]
    with opened(made["save"], serializer=serializer) as manager:
        assert manager.recover(tokens["save"], binding=b"me") == STATE
        taken = manager.take_over(tokens["save"], binding=b"me", newest_version=0)
        assert (taken.state, taken.socket_id, taken.applied_seq) == (STATE, "socket-1", None)
        assert (taken.view, taken.topic, taken.version) == ("a view", "lv:größe", 0)
        assert key_of(taken.token) == key_of(tokens["save"])
    with opened(made["save again"], serializer=serializer) as manager:
        taken = manager.take_over(tokens["save"], binding=b"me")
        assert (taken.state, taken.applied_seq, taken.version) == ({"n": 1}, 7, 3)
        with pytest.raises(exceptions.VersionMismatch):
            manager.take_over(tokens["save"], binding=b"me", newest_version=2)
    with opened(made["save after take_over"], NOW + 3, serializer=serializer) as manager:
        assert manager.recover(tokens["take_over"], binding=b"me") == RICH
        with pytest.raises(exceptions.TokenSuperseded):
            manager.recover(tokens["save"], binding=b"me")
    with opened(made["renew"], NOW + 4, serializer=serializer) as manager:
        assert manager.recover(tokens["renew"], binding=b"you") == RICH
        with pytest.raises(exceptions.InvalidSignature):
            manager.recover(tokens["renew"], binding=b"me")
    with opened(made["revoke"], NOW + 6, serializer=serializer) as manager:
        with pytest.raises(exceptions.SnapshotNotFound):
            manager.recover(tokens["renew"], binding=b"you")
        with pytest.raises(exceptions.TokenSuperseded) as caught:
            manager.save(tokens["renew"], {}, binding=b"you")
        assert caught.value.revoked


def test_old_tokens_by_a_fallback() -> None:
    token = old("tokens", make_tokens)["create_token"]
    clock = Clock()
    options: dict[str, Any] = {"cleanup_interval": None, "clock": clock}
    with RecoveryManager(secret="another" * 8, secret_fallbacks=[SECRET], **options) as manager:
        manager.save(token, STATE, binding=b"me")
        assert manager.recover(token, binding=b"me") == STATE
    other = RecoveryManager(secret="another" * 8, **options)
    with other, pytest.raises(exceptions.InvalidSignature):
        other.recover(token, binding=b"me")


def test_what_is_told_of_snapshots() -> None:
    """A listing, and a look at one socket."""
    made, tokens = old("snapshots", make_snapshots), old("tokens", make_tokens)
    key = key_of(tokens["save"])
    found = {}
    for name, data in {**made, "rubbish": b"rubbish".hex()}.items():
        entry = Entry(key=key, data=bytes.fromhex(data), expires_in=1.5)
        with opened(data) as manager:
            inspected = manager.inspect(key)
            assert inspected is not None
            found[name] = [repr(describe(entry)), repr(inspected), repr(inspected.state)]
    compare("told of snapshots", found)


async def test_health() -> None:
    check = load("recovery_app.health.acheck_storage")
    storage = Recorder(Clock())
    with make_manager(Clock(), storage=storage) as manager:
        good = await check(manager, timeout=5)
        storage.is_down = True
        bad = await check(manager)
        with override_manager(manager):
            assert (await check()).problem == bad.problem
    found = [[each.storage, each.is_good, each.problem] for each in (good, bad)]
    compare("health", [*found, [len(key) for key in storage.kept]])
    assert good.seconds >= 0


# Signals.


def test_signals() -> None:
    told: list[Any] = []

    def hear(signal: Any, sender: Any, **facts: Any) -> None:
        facts.pop("error", None)
        told.append([sender.__name__, facts])

    for signal in (signals.state_recovered, signals.recovery_failed):
        signal.connect(hear)
    try:
        with make_manager(Clock()) as manager:
            token = manager.create_token("socket-1")
            with contextlib.suppress(exceptions.RecoveryError):
                manager.recover(token)
            with contextlib.suppress(exceptions.RecoveryError):
                manager.recover("A" * 64)
            manager.save(token, {"count": 1}, applied_seq=4, version=2)
            manager.recover(token)
            manager.take_over(token)
    finally:
        for signal in (signals.state_recovered, signals.recovery_failed):
            signal.disconnect(hear)
    compare("signals", told)


# The wire.


class Shop(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_topics = ("shop", "shop:*")
    recovery_fields = ("count", "items")
    recovery_max_topics = 2

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any] | None:
        self.count, self.items = 0, list[Any]()
        if params.get("crash"):
            raise RuntimeError("a mount that fails")
        return {"mounted": self.recovery_topic, "params": params} if params else None

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if "refuse" in params:
            raise JoinRefused(*params["refuse"])

    async def should_recover(self, topic: str, params: dict[str, Any]) -> bool:
        return not params.get("afresh")

    async def after_recover(self, takeover: Any) -> dict[str, Any] | None:
        if self.count == 99:
            raise RuntimeError("a restore that fails")
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        if event == "push":
            await self.push("pushed", {"count": self.count})
        if event == "renew":
            await self.renew_recovery()
        return change(self, event, payload)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json({"own": content})


class SyncShop(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_topics = Shop.recovery_topics
    recovery_fields = Shop.recovery_fields
    recovery_max_topics = Shop.recovery_max_topics

    def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any] | None:
        self.count, self.items = 0, list[Any]()
        if params.get("crash"):
            raise RuntimeError("a mount that fails")
        return {"mounted": self.recovery_topic, "params": params} if params else None

    def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if "refuse" in params:
            raise JoinRefused(*params["refuse"])

    def should_recover(self, topic: str, params: dict[str, Any]) -> bool:
        return not params.get("afresh")

    def after_recover(self, takeover: Any) -> dict[str, Any] | None:
        if self.count == 99:
            raise RuntimeError("a restore that fails")
        return {"count": self.count}

    def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        if event == "push":
            self.push("pushed", {"count": self.count})
        if event == "renew":
            self.renew_recovery()
        return change(self, event, payload)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.send_json({"own": content})


class NewShop(Shop):
    recovery_version = 3

    async def migrate_state(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {**state, "count": state["count"] + 1000 * (version + 1)}


# A token is bound to the consumer by these two.
for _kind in (Shop, SyncShop, NewShop):
    _kind.__module__, _kind.__qualname__ = "shop.consumers", "Shop"


def change(shop: Any, event: str, payload: Any) -> dict[str, Any] | None:
    shop.count += 1
    if event == "crash":
        raise RuntimeError("a handler that fails")
    if event == "list":
        return ["not a dictionary"]  # type: ignore[return-value]
    if event == "odd":
        shop.items = [object()]
    if event == "large":
        shop.items = ["x" * 2_000_000]
    if event == "set":
        shop.count = payload["count"]
    if event == "quiet":
        return None
    return {"count": shop.count, "payload": repr(payload)}


CONSUMERS = pytest.mark.parametrize("consumer", [Shop, SyncShop], ids=["async", "sync"])


class Wire:
    """Everything that is said over some connections, one after the other, as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tokens: dict[str, str] = {}
        self.last = ""
        """The last frame from the server."""

    @contextlib.asynccontextmanager
    async def connected(self, consumer: Any, manager: RecoveryManager, **scope: Any) -> Any:
        line = WebsocketCommunicator(consumer.as_asgi(), "/ws/websocket")
        line.scope.update({**scope, "recovery": manager})  # type: ignore[typeddict-item]
        assert (await line.connect(timeout=10))[0]
        self.lines.append("= connected")
        try:
            yield Talk(self, line)
            assert await line.receive_nothing(timeout=0.02)
        finally:
            await line.disconnect(timeout=10)

    def note(self, who: str, text: str) -> None:
        for token in re.findall(r"[\w-]{64}", text):
            self.tokens.setdefault(token, f"<token {len(self.tokens) + 1}>")
            text = text.replace(token, self.tokens[token])
        self.lines.append(f"{who} {text}")

    def told_token(self) -> str:
        """Return the token in the reply that came last."""
        token: str = json.loads(self.last)[4]["response"]["_recovery"]["token"]
        return token

    def token(self, number: int) -> str:
        return list(self.tokens)[number - 1]


class Talk:
    """One connection."""

    def __init__(self, wire: Wire, line: WebsocketCommunicator) -> None:
        self.wire = wire
        self.line = line

    async def say(self, frame: Any, answers: int = 1) -> None:
        """Send a frame, and note as many answers."""
        if isinstance(frame, bytes):
            self.wire.lines.append(f"> {frame!r}")
            await self.line.send_to(bytes_data=frame)
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self.wire.note(">", text)
            await self.line.send_to(text_data=text)
        for _ in range(answers):
            self.wire.last = str(await self.line.receive_from(timeout=10))
            self.wire.note("<", self.wire.last)

    async def v2(self, event: str, payload: Any = None, topic: str = "shop", n: int = 1) -> None:
        await self.say(["1", "2", topic, event, {} if payload is None else payload], n)


def shown(token: str, **params: Any) -> dict[str, Any]:
    return {"_recovery": token, **params}


@CONSUMERS
async def test_wire_v2(consumer: Any) -> None:
    wire = Wire()
    with make_manager(Clock()) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.say([None, "1", "phoenix", "heartbeat", {}])
            await talk.say(["1", "1", "shop", "add", {}])
            await talk.say(["1", "1", "shop", "phx_leave", {}])
            await talk.say(["1", "1", "elsewhere", "phx_join", {}])
            await talk.say(["1", "1", "shop", "phx_join", {"refuse": []}])
            await talk.say(["1", "1", "shop", "phx_join", {"refuse": ["not today"]}])
            await talk.say(["1", "1", "shop", "phx_join", {"crash": 1}])
            await talk.say(["1", "1", "shop", "phx_join", {"a": 1, "params": {"b": 2}}])
            await talk.say(["1", "2", "shop", "add", {"c": [3]}])
            await talk.say(["1", 3, "shop", "add", None])
            await talk.say([None, None, "shop", "quiet", {}])
            for event in ("crash", "list", "odd", "large"):
                await talk.say(["1", "4", "shop", event, {}])
            await talk.say(["1", "5", "shop", "push", {}], 2)
            await talk.say(["1", "6", "shop", "renew", {}], 2)
            await talk.say(["0", "7", "shop", "add", {}], 0)
            await talk.say(["8", "8", "shop:a", "phx_join", {}])
            await talk.say(["9", "9", "shop:b", "phx_join", {}])
            await talk.say(["8", "10", "shop:a", "phx_leave", {}], 2)
            await talk.say(["8", "11", "shop:a", "add", {}])
            await talk.say(["12", "12", "shop", "phx_join", {}], 2)
            await talk.say({"of": "mine"})
            await talk.say([1, 2])
            await talk.say("no json", 0)
            await talk.say([None, "13", "phoenix", "heartbeat", {}])
    compare("wire v2", wire.lines)


@CONSUMERS
async def test_wire_v1(consumer: Any) -> None:
    wire = Wire()

    def frame(event: str, payload: Any = None, ref: Any = "1", **more: Any) -> Any:
        return {"topic": "shop", "event": event, "payload": payload or {}, "ref": ref, **more}

    with make_manager(Clock()) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.say({**frame("heartbeat"), "topic": "phoenix"})
            await talk.say(frame("add"))
            await talk.say(frame("phx_join", {"refuse": ["not today"]}))
            await talk.say(frame("phx_join", {"a": 1}))
            await talk.say(frame("add", {"b": 2}, 2))
            await talk.say(frame("crash", ref=None))
            await talk.say(frame("push"), 2)
            await talk.say(frame("add", {"_seq": 1, "_ack": 0}))
            await talk.say(frame("phx_leave", ref="9"), 2)
            await talk.say(frame("phx_join", {"a": 1}, "10", join_ref="10"))
            await talk.say(frame("push", ref="11", join_ref="10"), 2)
            await talk.say(frame("phx_leave", ref="12", join_ref="10"), 2)
    compare("wire v1", wire.lines)


@CONSUMERS
async def test_wire_bare(consumer: Any) -> None:
    wire = Wire()
    with make_manager(Clock()) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.say({"event": "heartbeat"})
            await talk.say({"event": "add", "payload": {}})
            await talk.say({"event": "phx_join", "payload": {}})
            await talk.say({"event": "add"})
            await talk.say({"event": "crash", "payload": {}, "ref": 7})
            await talk.say({"event": "push", "payload": {}}, 2)
            await talk.say({"event": "renew", "payload": {}}, 2)
            await talk.say({"event": "add", "payload": {"_seq": 3}})
        async with wire.connected(consumer, manager) as talk:
            await talk.say({"event": "phx_join", "payload": shown(wire.token(2))})
            await talk.say({"event": "phx_leave", "payload": {}}, 2)
    compare("wire bare", wire.lines)


@CONSUMERS
async def test_wire_binary(consumer: Any) -> None:
    wire = Wire()
    with make_manager(Clock()) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.say(["1", "1", "shop", "phx_join", {}])
            await talk.say(b"\x00\x01\x01\x04\x03" + b"12shopadd" + b"\x00\xff")
            await talk.say(b"\x00\x00\x00\x04\x03" + b"shopadd")
            await talk.say(b"\x01rubbish", 0)
    compare("wire binary", wire.lines)


@CONSUMERS
async def test_wire_of_numbered_events(consumer: Any) -> None:
    wire = Wire()
    with make_manager(Clock()) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.v2("phx_join")
            await talk.v2("add", {"_seq": 1, "_ack": 0, "a": 1})
            await talk.v2("quiet", {"_seq": 2})
            await talk.v2("add", {"_seq": 2, "_ack": 1})
            await talk.v2("add", {"_seq": 1, "_ack": 1})
            await talk.v2("add", {"_seq": 4, "_ack": 2})
            for bad in (0, -1, "1", 1.0, True, None):
                await talk.v2("add", {"_seq": bad})
            await talk.v2("add", {"_seq": 3, "_ack": "x"})
            await talk.v2("crash", {"_seq": 3, "_ack": 2})
            await talk.v2("crash", {"_seq": 3, "_ack": 2})
            await talk.v2("add", {"_ack": 3})
        async with wire.connected(consumer, manager) as talk:
            await talk.v2("phx_join", shown(wire.token(1)))
            await talk.v2("add", {"_seq": 3, "_ack": 0})
            await talk.v2("add", {"_seq": 4, "_ack": 3})
    compare("wire of numbered events", wire.lines)


@contextlib.contextmanager
def logged() -> Iterator[list[list[Any]]]:
    """Return the event, the level and the names of the extras of each line of the log."""
    usual = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
    found: list[list[Any]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            extras = sorted(vars(record).keys() - usual - {"event"})
            found.append([getattr(record, "event", None), record.levelname, extras])

    logger, listener = logging.getLogger("recovery_app"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


@CONSUMERS
async def test_wire_of_outcomes(consumer: Any) -> None:
    """Every outcome, and what a connection hears that another one has taken over."""
    wire, clock = Wire(), Clock()
    storage = Recorder(clock)
    with logged() as lines, make_manager(clock, storage=storage) as manager:
        await show_tokens(consumer, wire, manager, clock)
        await take_over_twice(consumer, wire, manager, clock)
        await lose_states(consumer, wire, manager, clock)
    compare("wire of outcomes", wire.lines)
    lines = [line for line in lines if line[0] not in ("storage_down", "storage_back")]
    compare("log of outcomes", lines)


async def join_once(
    consumer: Any, wire: Wire, manager: RecoveryManager, payload: Any = None, n: int = 1
) -> None:
    """Join on a connection of its own, and push one event, to which there are ``n`` frames."""
    async with wire.connected(consumer, manager) as talk:
        await talk.v2("phx_join", payload)
        await talk.v2("add", n=n)


async def show_tokens(consumer: Any, wire: Wire, manager: RecoveryManager, clock: Clock) -> None:
    await join_once(consumer, wire, manager)
    for payload in (
        lambda: shown(wire.token(1)),
        lambda: {"params": shown(wire.token(2))},
        lambda: shown(wire.token(1)),
        lambda: shown("rubbish"),
        lambda: shown("A" * 64),
        lambda: shown(wire.token(3), afresh=True),
    ):
        clock.now += 1
        await join_once(consumer, wire, manager, payload())


async def take_over_twice(
    consumer: Any, wire: Wire, manager: RecoveryManager, clock: Clock
) -> None:
    storage = cast("Recorder", manager.storage)
    async with wire.connected(consumer, manager) as one:
        await one.v2("phx_join")
        first = wire.told_token()
        clock.now += 1
        await join_once(consumer, wire, manager, shown(first))
        await one.v2("add", n=2)
        await one.v2("add")
        storage.is_down = True
        await one.v2("add", {"_seq": 1})
        storage.is_down = False
        await one.v2("add", {"_seq": 2})


async def lose_states(consumer: Any, wire: Wire, manager: RecoveryManager, clock: Clock) -> None:
    storage = cast("Recorder", manager.storage)
    async with wire.connected(consumer, manager) as talk:
        await talk.v2("phx_join")
        token = wire.told_token()
        await talk.v2("set", {"count": 99})
    await join_once(consumer, wire, manager, shown(token), 2)
    storage.is_down = True
    await join_once(consumer, wire, manager)
    await join_once(consumer, wire, manager, shown(token))
    storage.is_down = False
    storage.kept.clear()
    await join_once(consumer, wire, manager, shown(token))
    clock.now += TTL + 1
    await join_once(consumer, wire, manager, shown(token))


async def test_wire_of_versions() -> None:
    wire, clock = Wire(), Clock()
    with make_manager(clock) as manager:
        async with wire.connected(Shop, manager) as talk:
            await talk.v2("phx_join")
        clock.now += 1
        async with wire.connected(NewShop, manager) as talk:
            await talk.v2("phx_join", shown(wire.token(1)))
            await talk.v2("add")
        clock.now += 1
        async with wire.connected(Shop, manager) as talk:
            await talk.v2("phx_join", shown(wire.token(2)))
            await talk.v2("add", n=2)
    compare("wire of versions", wire.lines)


def read_snapshot(data: bytes, now: float) -> dict[str, Any]:
    """Read a snapshot's bytes as ``recovery_app/snapshots.py`` describes them."""
    head = struct.Struct(">2sBBIQQQQQ16s")
    magic, form, flags, version, *times, binding = head.unpack_from(data)
    person, seal, *sizes = struct.unpack_from(">16s16sHHHHI", data, head.size)
    parts, start = [], head.size + 44
    for size in sizes:
        parts.append(data[start : start + size])
        start += size
    fence, floor, seq, created, saved = times
    since = [None if not us else (us - round(now * 1e6)) // 1000 for us in (fence, floor)]
    return {
        "magic": magic.decode(), "format": form, "flags": flags, "version": version,
        "milliseconds of fence and floor": since, "seq": seq,
        "created and saved": [us - round(now * 1e6) for us in (created, saved)],
        "binding": binding.hex(), "person": person.hex(), "seal": seal.hex(),
        "socket id": len(parts[0]),
        "texts": [part.decode() for part in parts[1:4]], "replies": parts[4].decode("latin-1"),
        "state": data[start:].decode(),
    }  # fmt: skip


async def make_page(consumer: Any) -> tuple[str, list[bytes]]:
    """Return a token, and what is stored as a page joins and has two numbered events."""
    wire, clock = Wire(), Clock()
    storage = Recorder(clock)
    # Not sealed: socket ids are random, and all that a seal covers with them.
    with make_manager(clock, storage=storage, seal=False) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.v2("phx_join")
            await talk.v2("add", {"_seq": 1, "_ack": 0})
            await talk.v2("crash", {"_seq": 2, "_ack": 0})
    return wire.token(1), storage.saved


@CONSUMERS
async def test_snapshots_of_pages(consumer: Any) -> None:
    _, saved = await make_page(consumer)
    compare("snapshots of pages", [read_snapshot(data, NOW) for data in saved])


@CONSUMERS
async def test_old_pages_come_back(consumer: Any) -> None:
    """A token and bytes of before bring a page back, with the replies that it may have missed."""
    token, saved = await make_page(consumer)
    kept = old("page", lambda: {"token": token, "snapshot": saved[-1].hex()})
    wire, clock = Wire(), Clock(NOW + 60)
    storage = Recorder(clock)
    storage.kept[key_of(kept["token"])] = bytes.fromhex(kept["snapshot"]), NOW + TTL
    with make_manager(clock, storage=storage) as manager:
        async with wire.connected(consumer, manager) as talk:
            await talk.v2("phx_join", shown(kept["token"]))
            await talk.v2("add", {"_seq": 1, "_ack": 0})
            await talk.v2("add", {"_seq": 2, "_ack": 0})
            await talk.v2("add", {"_seq": 3, "_ack": 2})
    compare("wire of an old page", wire.lines)


class Person:
    is_authenticated = True
    pk = 7

    def get_session_auth_hash(self) -> str:
        return "hash"


async def test_bindings() -> None:
    """What a page's token is bound to, as the digest that is stored with its state."""
    found = {}

    class Bound(Shop):
        async def get_recovery_binding(self) -> str:
            return "me"

        async def get_recovery_view(self, topic: str) -> str:
            return "a view"

    Bound.__module__, Bound.__qualname__ = "shop.consumers", "Shop"
    for name, consumer, scope in (
        ("nobody", Shop, {}),
        ("user", Shop, {"user": Person()}),
        ("own", Bound, {}),
    ):
        wire, clock = Wire(), Clock()
        storage = Recorder(clock)
        # A seal would have another digest in its place.
        with make_manager(clock, storage=storage, seal=False) as manager:
            async with wire.connected(consumer, manager, **scope) as talk:
                await talk.v2("phx_join")
        read = read_snapshot(storage.saved[0], NOW)
        found[name] = [read["binding"], read["texts"]]
    compare("bindings", found)


# Metrics and spans, each in a process of its own.


def run(function: str) -> Any:
    """Call a function of this module in a new process and return what it prints."""
    code = f"import django; django.setup(); from tests import test_pinned as p; p.{function}()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TOP,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def print_metrics() -> None:
    signals.observers.counted(7, shared=True)
    found: dict[str, Any] = {}
    for family in REGISTRY.collect():
        if not family.name.startswith("golivekit"):
            continue
        series = [s for s in family.samples if s.name != f"{family.name}_created"]
        found[family.name] = {
            "type": family.type,
            "samples": sorted({s.name for s in series}),
            "labels": {
                # The version is another one with each release.
                label: sorted({s.labels[label] for s in series if label in s.labels})
                if label != "version"
                else ["..."]
                for label in sorted({label for s in series for label in s.labels})
            },
            "series": len(series),
            "sum": sum(s.value for s in series),
        }
    print(json.dumps(dict(sorted(found.items()))))


def test_metrics() -> None:
    """Names, kinds, labels, and the values of labels that are there from the start."""
    compare("metrics", run("print_metrics"))


def print_spans() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    logging.getLogger("recovery_app").setLevel(logging.CRITICAL)
    with make_manager(Clock()) as manager:
        make_spans(manager)
        asyncio.run(make_spans_of_pages(manager))
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context}
    hashes: dict[str, str] = {}
    found = []
    for span in spans:
        attributes: dict[str, Any] = dict(span.attributes or {})
        if (name := attributes.get("recovery.socket_hash")) is not None:
            assert re.fullmatch("[0-9a-f]{16}", name)
            attributes["recovery.socket_hash"] = hashes.setdefault(name, f"<{len(hashes) + 1}>")
        parent = span.parent and names[span.parent.span_id]
        found.append([span.name, span.status.status_code.name, parent, attributes])
    print(json.dumps(found))


def make_spans(manager: RecoveryManager) -> None:
    token = manager.create_token("socket-1")
    manager.save(token, {})
    manager.recover(token)
    manager.take_over(token)
    for bad in ("rubbish", "A" * 64):
        with contextlib.suppress(exceptions.RecoveryError):
            manager.recover(bad)
    storage = cast("Recorder", manager.storage)
    storage.is_down = True
    with contextlib.suppress(exceptions.RecoveryError):
        manager.save(token, {})
    storage.is_down = False


async def make_spans_of_pages(manager: RecoveryManager) -> None:
    token = manager.create_token("socket-2")
    await manager.asave(token, {})
    await manager.arecover(token)
    await manager.atake_over(token)
    wire = Wire()
    async with wire.connected(Shop, manager) as talk:
        await talk.v2("phx_join", {"refuse": []})
        await talk.v2("phx_join", {"crash": 1})
        await talk.v2("phx_join")
        await talk.v2("add")
    async with wire.connected(Shop, manager) as talk:
        await talk.v2("phx_join", shown(wire.token(1)))


def test_spans() -> None:
    require("opentelemetry-sdk", find_spec("opentelemetry.sdk"))
    compare("spans", run("print_spans"))


# The setting, and its checks.

CACHES = "django.core.cache.backends"
STORAGES = "recovery_app.storages"
DATABASE = {"BACKEND": f"{STORAGES}.DatabaseStorage"}
KEPT = {"BACKEND": f"{STORAGES}.CacheStorage", "OPTIONS": {"cache": "kept"}}


def cache(backend: str, **options: Any) -> dict[str, Any]:
    kept = {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1", "OPTIONS": options}
    return {
        "RECOVERY": {"STORAGE": KEPT},
        "CACHES": {"default": {"BACKEND": f"{CACHES}.dummy.DummyCache"}, "kept": kept},
    }


def key(name: str, value: Any) -> dict[str, Any]:
    return {"RECOVERY": {"STORAGE": DATABASE, name: value}}


PROVOKED: dict[str, dict[str, Any]] = {
    "E001": {"RECOVERY": []},
    "E002": key("TTTL", 3),
    "E003": key("SECRET", "short"),
    "E004": key("SECRET_FALLBACKS", "short"),
    "E005": key("TTL", 0),
    "E006": key("TOKEN_MAX_AGE", 0),
    "E007": key("STORAGE", "memory"),
    "E008": key("SERIALIZER", "nowhere"),
    "E009": key("CLEANUP_INTERVAL", 0),
    "E010": key("MAX_STATE_BYTES", 0),
    "E011": key("METRICS_NAMESPACE", "a b"),
    "E012": key("ENCRYPTION_KEYS", ["key"]),
    "E013": key("REDACT", "password"),
    "E014": key("MAX_FRAME_BYTES", 0),
    "E015": key("JOIN_RATE", "often"),
    "E016": key("SERIALIZER_FALLBACKS", "nowhere"),
    "E017": key("SEAL", "on"),
    "E018": key("JOURNAL_MAX_ENTRIES", -1),
    "E019": key("JOURNAL_MAX_AGE", 0),
    "W001": {"RECOVERY": {}},
    "W002": {"RECOVERY": {"STORAGE": {"BACKEND": f"{__name__}.Unfenced"}}},
    "W003": cache(f"{CACHES}.locmem.LocMemCache", MAX_ENTRIES=100_000),
    "W004": cache(f"{CACHES}.db.DatabaseCache"),
    "W005": cache("django_redis.cache.RedisCache", IGNORE_EXCEPTIONS=True, SOCKET_TIMEOUT=3),
    "W006": cache(f"{CACHES}.dummy.DummyCache"),
    "W007": {
        "RECOVERY": {"STORAGE": DATABASE},
        "CHANNEL_LAYERS": {
            "live": {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {"hosts": [{"address": "redis://127.0.0.1", "socket_timeout": 5}]},
            }
        },
    },
    "W008": {
        "RECOVERY": {"STORAGE": DATABASE},
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    },
    "W009": {
        **cache("django_redis.cache.RedisCache"),
        "RECOVERY": {
            "STORAGE": {"BACKEND": f"{STORAGES}.RedisStorage", "OPTIONS": {"cache": "kept"}}
        },
    },
    "W010": cache(f"{CACHES}.memcached.PyMemcacheCache"),
    "W011": {"RECOVERY": {"STORAGE": DATABASE}, "SECRET_KEY": "k" * 50},
    "W012": {"RECOVERY": {"STORAGE": DATABASE}},
    "W013": {"RECOVERY": {"STORAGE": DATABASE, "TTL": 43_201}},
    "W015": {
        "RECOVERY": {"STORAGE": {**DATABASE, "OPTIONS": {"database": "own"}}},
    },
    "W016": {
        "RECOVERY": {
            "STORAGE": {
                "BACKEND": f"{STORAGES}.MigratingStorage",
                "OPTIONS": {"new": DATABASE, "old": {"BACKEND": f"{STORAGES}.MemoryStorage"}},
            }
        }
    },
    "W017": {"RECOVERY": {"STORAGE": DATABASE}, "RECOVERY_TTL": 60},
    "I001": {
        "RECOVERY": {"STORAGE": {**DATABASE, "OPTIONS": {"database": "own"}}},
    },
}


OF_DATABASES = {
    "I001": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0},
    "W015": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60, "HOST": "db"},
}


class Unfenced(Recorder):
    def __init__(self) -> None:
        super().__init__(Clock())


def run_checks() -> dict[str, str]:
    found = checks.run_checks(tags=["recovery_app"])
    return {str(each.id): _level(each) for each in found}


def _level(message: checks.CheckMessage) -> str:
    return {checks.ERROR: "ERROR", checks.WARNING: "WARNING", checks.INFO: "INFO"}[message.level]


def test_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each id with its level, provoked; and the documentation has just these."""
    found = {}
    for number, changes in PROVOKED.items():
        with monkeypatch.context() as patch, override_settings(**changes):
            if number == "W009":
                patch.syspath_prepend(old_redis(tmp_path))
            if number == "W012":
                patch.setattr(sys, "argv", ["manage.py", "runserver"])
            if number in OF_DATABASES:
                # Another dictionary would be none that Django has connections for.
                patch.setitem(settings.DATABASES, "own", OF_DATABASES[number])
            found[number] = run_checks()
    compare("checks", found)
    assert all(f"recovery_app.{number}" in found[number] for number in PROVOKED)
    documented = re.findall(
        r"^\| `recovery_app\.([EWI]\d{3})` \|", (TOP / "docs/settings.md").read_text(), re.MULTILINE
    )
    # To provoke this one takes a server: see test_causes.
    documented.remove("W014")
    assert documented == list(PROVOKED)


def old_redis(directory: Path) -> str:
    """Make it look as if a redis-py without a time-out of its own were installed."""
    metadata = directory / "redis-7.4.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: redis\nVersion: 7.4.1\n")
    return str(directory)


def test_settings() -> None:
    """The keys, as the check lists them, and each one's default, as the documentation says."""
    with override_settings(**PROVOKED["E002"]):
        (message,) = checks.run_checks(tags=["recovery_app"])
    known = re.search(r"only (.*)\.$", message.msg)
    assert known is not None
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", (TOP / "docs/settings.md").read_text(), re.M)
    compare("settings", {"keys": known[1].split(", "), "documented": rows})
    assert known[1].split(", ") == [name for name, _ in rows]


def test_defaults_of_settings() -> None:
    key_of_site = "the SECRET_KEY of a site, which is a long one"
    with override_settings(RECOVERY={}, SECRET_KEY=key_of_site, SECRET_KEY_FALLBACKS=["older"]):
        manager = get_manager()
        assert get_manager() is manager
        assert (manager.ttl, manager.token_max_age) == (300, 86400)
        assert type(manager.storage) is MemoryStorage
        assert manager.storage.max_entries == 10_000
        token = manager.create_token("socket")
        with pytest.raises(exceptions.StateTooLarge) as caught:
            manager.save(token, {"text": "x" * 2**20})
        assert caught.value.limit_bytes == 1_048_576
        manager.save(token, {"n": 1})
        assert [info.serializer for info in manager.snapshots().items] == ["json"]
        for secret in (key_of_site, "older"):
            derived = salted_hmac("recovery_app.tokens", b"", secret=secret, algorithm="sha256")
            with RecoveryManager(secret=derived.digest()) as by_hand:
                made = by_hand.create_token("socket")
            if secret == key_of_site:
                assert manager.recover(made) == {"n": 1}
            else:
                manager.touch(made)
    with override_settings(RECOVERY={"TTL": timedelta(minutes=1)}):
        assert get_manager() is not manager
        assert get_manager().ttl == 60


# The log.


def test_log_events() -> None:
    """The names that lines of the log have, with level and extras as documented, are all in use."""
    text = (TOP / "docs/monitoring.md").read_text().partition("\n## The log\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z]+) \| .* \|([^|]*)\|$", text, re.MULTILINE)
    compare("log", [[name, level, re.findall(r"`(\w+)`", also)] for name, level, also in rows])
    names = {name for name, *_ in _read()["log"]}
    trees = [ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    strings = {value for value in constants if isinstance(value, str)}
    assert sorted(names - strings) == []
    told = {
        value.value
        for node in nodes
        if isinstance(node, ast.Dict)
        for name, value in zip(node.keys, node.values, strict=True)
        if isinstance(name, ast.Constant) and name.value == "event"
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
    assert sorted(told - names) == []


# Database, admin, templates and static files.


def as_any(value: object) -> Any:
    return value


def test_tables() -> None:
    found: dict[str, Any] = {}
    for model in (StoredSnapshot, Snapshot, JournalEntry, StoredReport):
        meta = model._meta
        found[model.__name__] = {
            "table": meta.db_table,
            "proxy": meta.proxy,
            "label": meta.label,
            "permissions": [*meta.permissions, *meta.default_permissions],
            "indexes": [repr(each) for each in (*meta.indexes, *meta.constraints)],
            "fields": {
                field.name: [
                    field.column,
                    field.get_internal_type(),
                    field.max_length,
                    "primary key" if field.primary_key else field.db_index,
                    field.null,
                    None if not field.has_default() else field.get_default(),
                ]
                for field in map(as_any, meta.concrete_fields)
            },
        }
    loader = MigrationLoader(None)
    found["migrations"] = sorted(n for app, n in loader.disk_migrations if app == "recovery_app")
    compare("tables", found)
    now = ProjectState.from_apps(apps)
    changes = MigrationAutodetector(loader.project_state(), now).changes(graph=loader.graph)
    assert "recovery_app" not in changes


def test_admin() -> None:
    kind = load("recovery_app.admin.SnapshotAdmin")
    site = kind(Snapshot, admin.site)
    compare(
        "admin",
        {
            "urls": [[str(url.pattern), url.name] for url in site.get_urls()],
            "list_per_page": kind.list_per_page,
            "sample_size": kind.sample_size,
            "named_users": kind.named_users,
            "registered": isinstance(admin.site._registry.get(Snapshot), kind),
        },
    )


def test_journal_admin() -> None:
    kind = load("recovery_app.admin.JournalAdmin")
    site = kind(JournalEntry, admin.site)
    compare(
        "journal admin",
        {
            "urls": [[str(url.pattern), url.name] for url in site.get_urls()],
            "list_per_page": kind.list_per_page,
            "export_limit": kind.export_limit,
            "named_users": kind.named_users,
            "registered": isinstance(admin.site._registry.get(JournalEntry), kind),
        },
    )


def test_live_admin() -> None:
    kind = load("recovery_app.admin.LiveAdmin")
    site = kind(StoredReport, admin.site)
    compare(
        "live admin",
        {
            "urls": [[str(url.pattern), url.name] for url in site.get_urls()],
            "list_per_page": kind.list_per_page,
            "shown_gone": kind.shown_gone,
            "named_users": kind.named_users,
            "registered": isinstance(admin.site._registry.get(StoredReport), kind),
        },
    )


class Viewer:
    """Somebody of the staff who may see snapshots, and no hidden values."""

    is_active = is_staff = is_authenticated = True
    is_anonymous = False
    pk = 1

    def has_perm(self, name: str, _obj: Any = None) -> bool:
        return name == "recovery_app.view_snapshot"

    def has_module_perms(self, _label: str) -> bool:
        return True

    def get_username(self) -> str:
        return "viewer"

    def has_usable_password(self) -> bool:
        return False


def test_redacted_names() -> None:
    """Which values the admin hides by default."""
    names = ["password", "passwd", "token", "secret", "api_key", "auth", "card", "cvv", "pin",
             "ssn", "cookie", "email", "OLD_Password_2"]  # fmt: skip
    with (
        override_settings(ROOT_URLCONF=__name__, RECOVERY={}),
        make_manager(Clock(), storage=MemoryStorage()) as manager,
        override_manager(manager),
    ):
        manager.save(manager.create_token("socket"), {name: f"value-of-{name}" for name in names})
        (info,) = manager.snapshots().items
        request = RequestFactory().get("/")
        request.user = Viewer()  # type: ignore[assignment]
        site = load("recovery_app.admin.SnapshotAdmin")(Snapshot, admin.site)
        page = site.change_view(request, info.socket_hash).render().content.decode()
    compare("redacted", [name for name in names if f"value-of-{name}" not in page])


TEMPLATES = [
    f"admin/recovery_app/snapshot/{name}.html"
    for name in (
        "base", "change_list", "chart", "cleanup", "detail", "minutes", "person", "results",
        "revoke", "revoke_user", "search", "state", "summary", "unlistable",
    )
] + [
    f"admin/recovery_app/journalentry/{name}.html"
    for name in ("absent", "change_list", "person", "results", "search", "timeline")
] + [
    f"admin/recovery_app/storedreport/{name}.html"
    for name in (
        "absent", "change_list", "joins", "pages", "people", "person", "processes", "search",
        "totals",
    )
]  # fmt: skip
STATIC = [
    "recovery_app/admin.css", "recovery_app/admin.js", "recovery_app/recovery.js",
    "recovery_app/recovery.min.js", "recovery_app/recovery.min.js.map", "recovery_app/recovery.mjs",
    "recovery_app/recovery.d.ts", "recovery_app/recovery.d.mts",
]  # fmt: skip


def test_template_tags() -> None:
    """The tags with their arguments, and the cookie that they have pages set."""
    from recovery_app._visitors import COOKIE_NAME
    from recovery_app.templatetags.recovery import (
        recovery_owner,
        recovery_script,
        recovery_state,
        register,
    )

    assert {"recovery_owner", "recovery_script", "recovery_state"} <= set(register.tags)
    calls = {
        call.__name__: signature(call) for call in (recovery_owner, recovery_script, recovery_state)
    }
    compare("template_tags", {**calls, "cookie": COOKIE_NAME})


def test_templates_and_static_files() -> None:
    for name in TEMPLATES:
        get_template(name)
    assert [name for name in STATIC if finders.find(name) is None] == []


# The JavaScript client.

SCRIPT = """
const module = await import(process.argv[1]);
const documented = process.argv[2].split(" ");
const found = {};
for (const [name, value] of Object.entries(module)) {
  const length = typeof value === "string" ? 0 : value.length;
  found[name] = { length, global: globalThis.RecoveryApp[name] === value };
  if (/^class/.test(value)) {
    found[name].base = Object.getPrototypeOf(value).name;
    found[name].members = documented.filter((member) => member in value.prototype);
  }
}
console.log(JSON.stringify(found));
"""
MEMBERS = [
    "beginWith", "carry", "channel", "close", "connect", "connection", "disconnect", "drop",
    "dropped", "forget", "giveUp", "heard", "isKept", "join", "joinPayload", "joined", "keep",
    "leave", "on", "onPushed", "params", "pending", "push", "pushVolatile", "ready", "receive",
    "watch",
]  # fmt: skip
"""Methods and getters that ``docs/client-reference.md`` names, of whichever class."""
OPTIONS = {
    "viewId", "storage", "maxKept", "maxKeptChars", "timeoutMs", "rejoinAfterMs",
    "reconnectAfterMs", "heartbeatMs",
}  # fmt: skip
WORDS = {
    "status", "connecting", "connected", "disconnected", "outcome", "lost", "reply", "refused",
    "kept", "EventRefused", "EventLost", "QueueFull", "EventUnconfirmed", "rolled_back", "left",
    "forgotten", "full", "unconfirmed", "sessionStorage", "localStorage", "none",
    "recovery:token", "lv_recovery_", ":events",
}  # fmt: skip


def test_script_exports() -> None:
    """What a module imports, and the global of a plain script."""
    from tests.support.node import require_node, run_node

    require_node()
    file = Path(str(finders.find("recovery_app/recovery.js"))).as_uri()
    shown = run_node("--input-type=module", "--eval", SCRIPT, file, " ".join(MEMBERS))
    compare("recovery.js", json.loads(shown))


def test_script_words() -> None:
    """Options, events and reasons that the documentation names are in the script."""
    script = Path(str(finders.find("recovery_app/recovery.js"))).read_text()
    docs = (TOP / "docs/client-reference.md").read_text()
    assert sorted(name for name in OPTIONS if not re.search(rf"\b{name}\b", script)) == []
    assert sorted(word for word in WORDS if word not in script) == []
    options = re.findall(r"^\| `(\w+)` \| [^|]*\d|^\| `(viewId|storage|\w+Ms)` ", docs, re.M)
    assert {one or other for one, other in options} - {""} == OPTIONS
