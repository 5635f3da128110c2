"""The page "Live pages": which pages are open, whose, and where; and how joins went."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app._core.report_codec import encode_report
from recovery_app.admin.live import LiveAdmin
from recovery_app.admin.presence import GONE_SECONDS
from recovery_app.clock import MICROSECONDS
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from recovery_app.testing import FailingStorage
from recovery_app.values import LivePage, ProcessReport
from tests.admin.conftest import MakeClient
from tests.admin.support import LIST, detail_of, hash_of, save, text_of
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager

LIVE = "/admin/recovery_app/storedreport/"
JOURNAL = "/admin/recovery_app/journalentry/"
VIEW = "view_storedreport"


def put_report(
    manager: RecoveryManager,
    uid: int,
    *,
    digest: str = "",
    pages: int = 1,
    listed: int | None = None,
    outcome: str = "new",
    joins: int = 1,
    minutes_ago: int = 0,
    **facts: Any,
) -> None:
    """Store what another process would report now."""
    now_us = round(manager.clock() * MICROSECONDS)
    page = {"socket_hash": f"{uid:016x}", "view": "v", "topic": "t", "user": "", "person": digest}
    page |= facts.pop("page", {})
    report = ProcessReport(
        uid=f"{uid:016x}",
        at_us=now_us,
        started_us=now_us - 600 * MICROSECONDS,
        process=1000 + uid,
        topics=pages,
        connections=pages,
        joins={int(manager.clock() // 60) - minutes_ago: {outcome: joins}},
        pages=tuple(
            LivePage(since_us=now_us - 180 * MICROSECONDS, **page)
            for _ in range(pages if listed is None else listed)
        ),
        **{"node": "n", **facts},
    )
    manager.storage.put_report(report.uid, encode_report(report), 3600)


@pytest.fixture(autouse=True)
def _universal_time(settings: Any) -> None:
    settings.TIME_ZONE = "UTC"


@pytest.fixture
def reader(client_of: MakeClient) -> Client:
    """Return the client of somebody who may see live pages."""
    return client_of(VIEW)


@pytest.fixture
def namer(reader: Client) -> Client:
    """Return the client of somebody who may also view users."""
    user = User.objects.get(pk=reader.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    return reader


def shown(client: Client, query: str = "") -> str:
    response = client.get(f"{LIVE}{query}")
    assert response.status_code == 200
    return text_of(response)


# Who may.


def test_permissions(client_of: MakeClient, manager: RecoveryManager) -> None:
    others = {"view_journalentry", "view_snapshot", "delete_snapshot", "view_snapshot_state"}
    assert client_of(VIEW).get(LIVE).status_code == 200
    assert client_of(*others).get(LIVE).status_code == 403
    assert client_of(VIEW, *others, is_staff=False).get(LIVE).status_code == 302


def test_only_what_one_may_see_is_offered(client_of: MakeClient, manager: RecoveryManager) -> None:
    put_report(manager, 1, digest="a" * 32)
    reader, everybody = client_of(VIEW), client_of(VIEW, "view_journalentry", "view_snapshot")
    for client, may in ((reader, False), (everybody, True)):
        assert (JOURNAL in client.get(LIVE).content.decode()) is may
        pages = client.get(f"{LIVE}?person={'a' * 32}").content.decode()
        assert f"{1:016x}" in pages
        assert (f"{LIST}{1:016x}/change/" in pages) is may
    for address in (LIST, JOURNAL):
        assert LIVE in everybody.get(address).content.decode()
        hidden = client_of("view_journalentry", "view_snapshot").get(address).content.decode()
        assert LIVE not in hidden


# Processes.


def test_two_processes_add_up(reader: Client, manager: RecoveryManager) -> None:
    put_report(manager, 1, pages=3, joins=20)
    put_report(manager, 2, pages=4, node="m", outcome="recovered", joins=5)
    text = shown(reader)
    assert "Open pages 7 WebSockets 7 Persons 0 Processes 2 Nodes 2" in text
    assert "m 1002 4 4 5 10 minutes 0 seconds ago n 1001 3 3 20 10 minutes 0 seconds ago" in text
    assert "New page 20 Recovered 5" in text
    assert "All m (4) n (3)" in text


def test_a_process_that_dies_is_gone(
    reader: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    put_report(manager, 1, pages=3, joins=8)
    clock.advance(seconds=GONE_SECONDS)
    assert "Open pages 3" in shown(reader)
    clock.advance(seconds=1)
    put_report(manager, 2, joins=2)
    text = shown(reader)
    assert "Open pages 1 WebSockets 1 Persons 0 Processes 1" in text
    assert "n 1001 – – 8 10 minutes gone: silent for 61 seconds" in text
    # How its joins went is still of interest.
    assert "New page 10" in text
    clock.advance(seconds=3600)
    assert "1001" not in shown(reader)


def test_a_process_that_ends_is_gone_at_once(reader: Client, manager: RecoveryManager) -> None:
    put_report(manager, 1, pages=3, has_ended=True)
    text = shown(reader)
    assert "Open pages 0" in text
    assert "ended 0 seconds ago" in text
    assert "No page is open." in text


def test_a_clock_that_is_ahead_makes_nobody_gone(
    reader: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    clock.advance(seconds=30)
    put_report(manager, 1)
    clock.advance(seconds=-30)
    assert "Processes 1" in shown(reader)


def test_not_all_that_are_gone_are_shown(reader: Client, manager: RecoveryManager) -> None:
    for uid in range(LiveAdmin.shown_gone + 2):
        put_report(manager, uid, has_ended=True)
    put_report(manager, 99)
    text = shown(reader)
    assert text.count("ended 0 seconds ago") == LiveAdmin.shown_gone
    assert "n 1099" in text
    assert "2 more processes are gone." in text


# The hour.


def test_the_hour_is_drawn_by_minute(
    reader: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    clock.now = clock.now // 60 * 60
    put_report(manager, 1, outcome="recovered", joins=6)
    put_report(manager, 2, outcome="not_found", joins=2)
    clock.advance(seconds=60)
    put_report(manager, 3, outcome="an outcome of tomorrow", joins=1)
    text = shown(reader)
    assert "Recovered 6 Snapshot not found 2 an outcome of tomorrow 1" in text
    assert "Did not go well: 3" in text
    html = reader.get(LIVE).content.decode()
    assert html.count('<rect x="') == 2
    heights = re.findall(r'class="recovery-marked"[^>]*height="([\d.]+)"', html)
    assert heights == ["18.0", "9.0"]
    assert ": 8 (did not go well: 2)" in html


def test_what_is_older_than_an_hour_isnt_counted(
    reader: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    """Another node's clock may be wrong, too."""
    for uid, minutes_ago in enumerate((60, -1, 10**9)):
        put_report(manager, uid, minutes_ago=minutes_ago)
    assert "Nobody has joined in this hour." in shown(reader)
    put_report(manager, 9, minutes_ago=59)
    assert "New page 1" in shown(reader)


# Pages, and whose they are.


def test_persons_are_named_only_to_who_may_view_users(
    client_of: MakeClient, reader: Client, manager: RecoveryManager, ada: User
) -> None:
    (digest,) = manager.digests_of_user(ada)
    put_report(manager, 1, digest=digest, pages=2, page={"user": str(ada.pk)})
    put_report(manager, 2, digest=digest, node="m")
    put_report(manager, 3, digest="b" * 32, page={"user": "4711"})
    put_report(manager, 4)
    text = shown(reader)
    assert f"{digest[:8]}… 3 m , n v" in text
    assert "ada" not in text
    assert "4711" not in text
    assert "nobody known 1 n v" in text
    assert "Users can be found only" in shown(reader, "?user=ada")
    user = User.objects.get(pk=reader.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    text = shown(reader)
    assert "ada 3 m , n v" in text
    assert "bbbbbbbb… primary key 4711 1 n v" in text
    assert "3 persons have pages open." in text


def test_a_search_finds_the_pages_of_one_user(
    namer: Client, manager: RecoveryManager, ada: User
) -> None:
    (digest,) = manager.digests_of_user(ada)
    put_report(manager, 1, digest=digest, page={"view": "shop"})
    # One of another secret, where the user's key was recorded.
    put_report(manager, 2, digest="c" * 32, node="m", page={"user": str(ada.pk)})
    put_report(manager, 3, digest="b" * 32)
    for query in ("?user=ada", f"?user={ada.pk}"):
        text = shown(namer, query)
        assert "Open pages of user ada" in text
        assert f"shop t n 1001 3 minutes {1:016x}" in text
        assert f"v t m 1002 3 minutes {2:016x}" in text
        assert "2 open pages." in text
    assert "1 open page." in shown(namer, "?user=ada&node=m")
    assert "No open pages match." in shown(namer, "?user=ada&node=elsewhere")
    assert "1 open page." in shown(namer, f"?person={'b' * 32}")
    assert "No user has this name" in shown(namer, "?user=nobody")
    assert "isn’t valid" in shown(namer, "?person=rubbish")


def test_a_page_without_a_snapshot_has_no_link(reader: Client, manager: RecoveryManager) -> None:
    put_report(manager, 1, digest="a" * 32, page={"socket_hash": ""})
    assert "v t n 1001 3 minutes –" in shown(reader, f"?person={'a' * 32}")


def test_only_so_many_are_shown(
    reader: Client, manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveAdmin, "list_per_page", 2)
    for uid in range(4):
        put_report(manager, uid, digest=f"{uid:032x}", pages=uid + 1, listed=min(3, uid + 1))
    text = shown(reader)
    assert "2 persons of 4" in text
    assert "4 3 of them below 4" in text
    assert "Persons ≥ 4" in text
    assert "more pages than they report" in text
    assert "The newest 2 pages of 3." in shown(reader, f"?person={3:032x}")


# Snapshots.


def test_a_snapshot_says_where_its_page_is_open(
    operator: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    save(manager, "mine", "other")
    put_report(manager, 1, node="web-1", page={"socket_hash": hash_of("mine")})
    clock.advance(seconds=30)
    put_report(manager, 2, node="web-2", page={"socket_hash": hash_of("mine")})
    listed = text_of(operator.get(LIST))
    # It came back, and the older connection is still there.
    assert "open web-2" in listed
    assert "web-1" not in listed
    assert "Page open (on web-2, process 1002)" in text_of(operator.get(detail_of("mine")))
    assert "Page open (last sign of life" in text_of(operator.get(detail_of("other")))
    clock.advance(seconds=GONE_SECONDS + 1)
    assert "web-2" not in text_of(operator.get(LIST))


# Storages.


def test_without_reports_the_page_says_why(reader: Client, clock: FakeClock) -> None:
    with make_manager(storage=OwnStorage(clock)) as made, override_manager(made):
        assert "OwnStorage keeps no reports of processes" in shown(reader)
    off = make_manager(storage=MemoryStorage(clock=clock), journal_max_entries=0)
    with off, override_manager(off):
        assert 'RECOVERY["JOURNAL_MAX_ENTRIES"] is 0' in shown(reader)


def test_a_storage_that_is_away_is_told(reader: Client, operator: Client, clock: FakeClock) -> None:
    storage = FailingStorage(clock=clock)
    with make_manager(storage=storage, clock=clock) as made, override_manager(made):
        with storage.failing():
            assert "The storage can’t be reached" in shown(reader)
            text = text_of(operator.get(LIST))
            assert text.count("The storage can’t be reached") == 1
        assert "No page is open." in shown(reader)


def test_this_process_is_up_to_date(reader: Client, manager: RecoveryManager) -> None:
    manager.reporter.connected(1)
    assert "Open pages 0 WebSockets 1" in shown(reader)
    manager.reporter.connected(1)
    assert "Open pages 0 WebSockets 2" in shown(reader)
    assert "MemoryStorage keeps the report of this process alone." in shown(reader)
