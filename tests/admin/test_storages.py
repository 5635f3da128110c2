"""The pages with each kind of storage, on real servers."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.admin.options import SnapshotAdmin
from recovery_app.middleware import override_manager
from recovery_app.storages import (
    CacheStorage,
    DatabaseStorage,
    MemoryStorage,
    RedisStorage,
    Storage,
)
from recovery_app.storages.redis.scanning import STEP_KEYS
from tests.admin.support import (
    CLEANUP,
    CONFIRMED,
    LIST,
    detail_of,
    hash_of,
    ids_of,
    link_to,
    pages_of,
    save,
    selected,
    text_of,
)
from tests.core.caches import CacheMaker
from tests.core.redis_storages import on_cluster, on_one, ports_of
from tests.core.support import make_manager
from tests.support.processes import TOP, Process
from tests.support.redis import client as redis_client
from tests.support.users import save_for
from tests.test_redis_listing import filled

NUMBERED = [f"socket-{number:02}" for number in range(25)]
KINDS = ["memory", "database", "redis", "cluster", "django-redis", "cache"]


def make(kind: str, request: pytest.FixtureRequest) -> Storage:
    """Return an empty storage of a kind."""
    if kind == "memory":
        return MemoryStorage()
    if kind == "database":
        return DatabaseStorage()
    if kind in ("django-redis", "cache"):
        if kind == "django-redis":
            request.getfixturevalue("redis_caches")
        alias = {"django-redis": "django_redis-pickle", "cache": "locmem"}[kind]
        return CacheMaker(alias=alias)(time.time)
    servers = request.getfixturevalue("redis_server" if kind == "redis" else "redis_cluster")
    for port in ports_of(servers):
        with redis_client(port) as connection:
            connection.flushall()
    return RedisStorage(**(on_one if kind == "redis" else on_cluster)(servers))


@pytest.fixture(params=KINDS)
def current(request: pytest.FixtureRequest, db: None) -> Iterator[RecoveryManager]:
    """Return the current manager, with each kind of storage in turn."""
    made = make_manager(storage=make(request.param, request))
    with made, override_manager(made):
        yield made


def test_the_pages_with_each_storage(
    operator: Client, current: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SnapshotAdmin, "list_per_page", 10)
    storage = current.storage
    save(current, *NUMBERED, view="cart", topic="lv:cart", state={"password": "hunter2", "a": 1})
    save(current, "another", view="chat")
    if storage.supports_listing:
        assert "Snapshots 26 Total size" in text_of(operator.get(LIST))
        pages = pages_of(operator, LIST)
        found = [socket_id for page in pages for socket_id in page]
        assert sorted(found) == sorted([*NUMBERED, "another"])
        narrowed = operator.get(LIST + link_to(operator.get(LIST), "chat"))
        assert ids_of(narrowed) == ["another"]
        assert sorted(ids_of(operator.get(LIST, {"q": "socket-1"}))) == NUMBERED[10:20]
        assert ("Expired" in text_of(operator.get(LIST))) is storage.keeps_expired
    else:
        assert "can’t list its snapshots" in text_of(operator.get(LIST))
    assert ids_of(operator.get(LIST, {"q": "another"})) == ["another"]
    for number in range(2):
        save_for(current, b"a session", f"visit {number}")
    visit = current.inspect(hash_of("visit 0"))
    assert visit is not None
    listed = operator.get(LIST, {"person": visit.info.person})
    if storage.supports_listing:
        assert sorted(ids_of(listed)) == ["visit 0", "visit 1"]
    else:
        assert "so they can’t be searched by person" in text_of(listed)
    for number in range(2):
        current.storage.delete(hash_of(f"visit {number}"))
    seen = text_of(operator.get(detail_of("socket-07")))
    assert "View cart" in seen
    assert "a int 1" in seen
    assert "hunter2" not in seen
    response: Any = operator.post(LIST, selected("socket-07", "another", **CONFIRMED), follow=True)
    assert "Revoked 2 snapshots." in text_of(response)
    assert LogEntry.objects.count() == 2
    assert "was revoked" in text_of(operator.get(detail_of("another")))
    if storage.supports_listing:
        assert current.count() == 24


def test_an_empty_page_links_to_the_next_if_the_server_holds_other_keys(
    operator: Client, redis_server: Process, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery_app.storages.redis.listing.MAX_STEPS", 1)
    storage = filled(redis_server, 1, others=5 * STEP_KEYS)
    pages = []
    address = LIST
    with make_manager(storage=storage) as manager, override_manager(manager):
        while address:
            response = operator.get(address)
            seen, found = text_of(response), ids_of(response)
            assert "There are no snapshots." not in seen
            goes_on = "Next page" in seen
            assert ("No snapshots on this page" in seen) is (goes_on and not found)
            assert ("There are no more snapshots." in seen) is (not goes_on and not found)
            pages.append(found)
            address = LIST + link_to(response, "Next page") if goes_on else ""
    assert len(pages) > 3
    assert [each for page in pages for each in page] == ["socket 000000"]


def test_the_clean_up_is_offered_if_it_is_needed(
    operator: Client, current: RecoveryManager
) -> None:
    needed = not current.storage.expires_by_itself
    asked = text_of(operator.get(CLEANUP))
    assert ("Yes, remove" in operator.get(CLEANUP).content.decode()) is needed
    assert ("removes expired snapshots automatically" in asked) is not needed
    assert ("Remove expired snapshots" in text_of(operator.get(LIST))) is needed


@pytest.mark.parametrize("kind", ["redis", "django-redis"])
def test_an_unavailable_server_is_reported_quickly(
    operator: Client, redis_directory: Any, kind: str, settings: Any, monkeypatch: Any
) -> None:
    address = "redis://127.0.0.1:1/0"
    if kind == "redis":
        storage: Storage = RedisStorage(url=address)
    else:
        settings.CACHES = {
            **settings.CACHES,
            "away": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": address},
        }
        storage = CacheStorage(cache="away")
    with make_manager(storage=storage) as manager, override_manager(manager):
        start = time.monotonic()
        for page in (LIST, detail_of("mine"), f"{LIST}?q=mine"):
            response = operator.get(page)
            assert response.status_code == 200
            assert "The storage can’t be reached" in text_of(response)
        posted: Any = operator.post(LIST, selected("mine", **CONFIRMED), follow=True)
        assert "The storage can’t be reached" in text_of(posted)
        assert time.monotonic() - start < 60
    assert not LogEntry.objects.exists()


def test_a_missing_table_is_reported(
    operator: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recovery_app.models import StoredSnapshot

    monkeypatch.setattr(StoredSnapshot._meta, "db_table", "no_such_table")
    with make_manager(storage=DatabaseStorage()) as manager, override_manager(manager):
        response = operator.get(LIST)
    assert response.status_code == 200
    assert "The storage" in text_of(response)


def test_only_the_database_storage_stores_rows(operator: Client, current: RecoveryManager) -> None:
    from recovery_app.models import StoredSnapshot

    save(current, *NUMBERED)
    operator.get(LIST)
    in_database = isinstance(current.storage, DatabaseStorage)
    assert StoredSnapshot.objects.count() == (25 if in_database else 0)


WITHOUT_ADMIN = """
import sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="0123456789" * 5,
    INSTALLED_APPS=["channels", "recovery_app"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("check")
from recovery_app import get_manager
manager = get_manager()
token = manager.create_token("mine")
manager.save(token, {"count": 1})
print(manager.recover(token), "recovery_app.admin" in sys.modules)
"""


def test_the_app_works_without_the_admin() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_ADMIN)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "{'count': 1} False" in done.stdout


def test_data_can_still_be_dumped(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    call_command("dumpdata", "recovery_app")
    assert capsys.readouterr().out.strip() == "[]"
