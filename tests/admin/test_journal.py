"""The page "Journal": what was lost, found by user, time, reason and view, and taken away."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.admin.journal import JournalAdmin
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage, MemoryStorage, RedisStorage, Storage
from recovery_app.values import Incident
from tests.admin.conftest import MakeClient
from tests.admin.support import link_to, text_of
from tests.clock import FakeClock
from tests.core.redis_storages import on_one
from tests.core.support import DownStorage, OwnStorage, make_manager

JOURNAL = "/admin/recovery_app/journalentry/"
EXPORT = f"{JOURNAL}export/"
LIST = "/admin/recovery_app/snapshot/"
VIEW, EXPORTS = "view_journalentry", "export_journalentry"
SHOWN, NOW = "0123456789abcdef", "fedcba9876543210"


def note(manager: RecoveryManager, reason: str = "not_found", **facts: Any) -> None:
    """Have something in the journal."""
    manager.journal.note(facts.pop("kind", "recovery"), reason, **facts)
    assert manager.journal.flush()


def digest_of(manager: RecoveryManager, user: User) -> str:
    return manager.digests_of_user(user)[0]


@pytest.fixture(autouse=True)
def _universal_time(settings: Any) -> None:
    settings.TIME_ZONE = "UTC"


@pytest.fixture
def reader(client_of: MakeClient) -> Client:
    """Return the client of somebody who may see the journal."""
    return client_of(VIEW)


@pytest.fixture
def namer(client_of: MakeClient) -> Client:
    """Return the client of somebody who may also export it and view users."""
    client = client_of(VIEW, EXPORTS)
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    return client


def shown(client: Client, query: str = "") -> str:
    response = client.get(f"{JOURNAL}{query}")
    assert response.status_code == 200
    return text_of(response)


def views_in(response: Any) -> list[str]:
    """Return the views of the rows, from top to bottom."""
    text = response.content.decode()
    rows = (
        text.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:] if "<tbody>" in text else []
    )
    return [row.split("</td>")[3].split("<bdi>")[1].split("</bdi>")[0] for row in rows]


# Who may.


@pytest.mark.parametrize(
    ("address", "needed"), [(JOURNAL, {VIEW}), (EXPORT, {VIEW, EXPORTS})], ids=["page", "export"]
)
def test_permissions(
    client_of: MakeClient, manager: RecoveryManager, address: str, needed: set[str]
) -> None:
    everything = {VIEW, EXPORTS, "view_snapshot", "delete_snapshot", "view_snapshot_state"}
    assert client_of(*needed).get(address).status_code == 200
    for lacking in needed:
        assert client_of(*everything - {lacking}).get(address).status_code == 403
    outsider = client_of(*everything, is_staff=False).get(address)
    assert (outsider.status_code, outsider["Location"][:13]) == (302, "/admin/login/")


def test_only_what_one_may_do_is_offered(
    client_of: MakeClient, manager: RecoveryManager, namer: Client
) -> None:
    note(manager, shown_hash=SHOWN)
    reader = client_of(VIEW)
    assert "Export as CSV" not in shown(reader)
    assert SHOWN in shown(reader)
    assert LIST not in reader.get(JOURNAL).content.decode()
    assert "Export as CSV" in shown(namer)
    seer = client_of(VIEW, "view_snapshot")
    assert f'href="{LIST}{SHOWN}/change/"' in seer.get(JOURNAL).content.decode()
    for client, may in ((reader, True), (client_of("view_snapshot"), False)):
        assert (JOURNAL in client.get("/admin/").content.decode()) is may
    assert JOURNAL in seer.get(LIST).content.decode()
    assert JOURNAL not in client_of("view_snapshot").get(LIST).content.decode()


# What is shown.


def test_an_entry_says_what_why_who_and_where(
    namer: Client, manager: RecoveryManager, ada: User
) -> None:
    manager.journal.record(
        kind="recovery",
        reason="rejected",
        part="person",
        cause="a cause",
        person=digest_of(manager, ada),
        view="shop",
        topic="lv:shop",
        shown_hash=SHOWN,
        socket_hash=NOW,
        token_seconds=3.2,
        left_out=2,
    )
    text = shown(namer)
    assert "State not recovered : Token rejected: another person a cause" in text
    assert (
        "The token was issued 4 seconds before. 2 similar entries were left out before. ada" in text
    )
    assert f"shop lv:shop {SHOWN} → {NOW}" in text
    assert "1 entry on this page" in text
    assert "1 in this hour" in text


def test_names_and_keys_are_for_who_may_view_users(
    reader: Client, namer: Client, manager: RecoveryManager, ada: User
) -> None:
    note(manager, person=digest_of(manager, ada), user="4711")
    note(manager, "expired", user="4711", person="f" * 32)
    assert " ada " not in shown(reader)
    assert "4711" not in shown(reader)
    text = shown(namer)
    assert " ada " in text
    assert "ffffffff… primary key 4711" in text
    assert "Users can be found only with the permission" in shown(reader, "?user=ada")


def test_the_five_minute_question(
    namer: Client, manager: RecoveryManager, ada: User, clock: FakeClock
) -> None:
    """My form was empty at 3:12: one search by user says why."""
    clock.now = datetime(2026, 11, 24, 3, 12, tzinfo=timezone.utc).timestamp()
    cause = "Connection refused (10.0.0.5:6379)"
    note(manager, "unavailable", person=digest_of(manager, ada), cause=cause, view="form")
    note(manager, "expired", person="b" * 32, view="other")
    response = namer.get(f"{JOURNAL}?user=ada")
    assert views_in(response) == ["form"]
    text = text_of(response)
    assert "What user ada (primary key" in text
    assert "Storage unavailable Connection refused (10.0.0.5:6379)" in text


def test_searches_and_filters(
    namer: Client, manager: RecoveryManager, ada: User, clock: FakeClock
) -> None:
    clock.now = datetime(2026, 11, 24, 3, 12, tzinfo=timezone.utc).timestamp()
    note(manager, view="lost", person=digest_of(manager, ada))
    clock.advance(seconds=600)
    note(manager, "superseded", kind="fork", view="fork", user=str(ada.pk))
    clock.advance(seconds=7200)
    note(manager, "crashed", kind="event", view="event")
    digest = digest_of(manager, ada)
    for query, expected in (
        ("", ["event", "fork", "lost"]),
        ("?user=ada", ["fork", "lost"]),
        (f"?person={digest}", ["fork", "lost"]),
        ("?view=lost", ["lost"]),
        ("?kind=fork", ["fork"]),
        ("?kind=event&reason=crashed", ["event"]),
        ("?reason=not_found", ["lost"]),
        ("?kind=event&reason=not_found", ["event"]),
        ("?kind=rubbish", ["event", "fork", "lost"]),
        ("?past=3600", ["event"]),
        ("?past=86400", ["event", "fork", "lost"]),
        ("?since=2026-11-24T03:20", ["event", "fork"]),
        ("?since=2026-11-24T03:00&until=2026-11-24T03:20&past=3600", ["lost"]),
        ("?until=2026-11-24T03:12:00Z", []),
        ("?view=elsewhere", []),
    ):
        response = namer.get(f"{JOURNAL}{query}")
        assert views_in(response) == expected, query
    assert "No entries match." in shown(namer, "?view=elsewhere")
    for query in ("?since=rubbish", "?until=9999999-01-01T00:00"):
        assert "isn’t a time" in shown(namer, query)
    assert "isn’t valid" in shown(namer, "?cursor=rubbish")
    assert "No user has this name" in shown(namer, "?user=bob")


def test_pages(reader: Client, manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalAdmin, "list_per_page", 2)
    for number in range(5):
        note(manager, view=f"v{number}", shown_hash=str(number))
    found: list[str] = []
    address = JOURNAL
    while True:
        response = reader.get(address)
        found += views_in(response)
        if ">Next page<" not in response.content.decode():
            break
        address = JOURNAL + link_to(response, "Next page")
    assert sorted(found) == [f"v{number}" for number in range(5)]
    assert link_to(response, "First page") == "?"


def test_the_hour(reader: Client, manager: RecoveryManager, clock: FakeClock) -> None:
    clock.now = datetime(2026, 11, 24, 3, 12, 30, tzinfo=timezone.utc).timestamp()
    assert "None. Only losses are counted" in shown(reader)
    for number in range(3):
        note(manager, view="a", shown_hash=str(number))
    clock.advance(seconds=600)
    note(manager, view="b")
    html = reader.get(JOURNAL).content.decode()
    assert "Entries for each minute, 02:23 to 03:23" in html
    assert "<title>03:12: 3</title>" in html
    assert "<title>03:22: 1</title>" in html
    assert "4 in this hour; most of them at 03:12: 3." in text_of(reader.get(JOURNAL))
    clock.advance(seconds=7200)
    assert "<rect" not in reader.get(JOURNAL).content.decode()
    html = reader.get(f"{JOURNAL}?until=2026-11-24T03:20&view=a").content.decode()
    assert "Entries for each minute, 02:20 to 03:20" in html
    assert html.count("<rect") == 1


def test_what_clients_choose_is_escaped(reader: Client, manager: RecoveryManager) -> None:
    note(manager, "crashed", kind="event", handling="<script>1</script>", topic="<b>", view="<i>")
    html = reader.get(JOURNAL).content.decode()
    assert "<script>1" not in html
    assert "&lt;script&gt;1&lt;/script&gt;" in html


def test_a_kind_of_a_newer_version_is_shown_by_its_word(
    reader: Client, manager: RecoveryManager
) -> None:
    note(manager, "a_new_reason", kind="a_new_kind", part="a new part")
    assert "a_new_kind : a_new_reason: a new part" in shown(reader)


# Storages.


@pytest.mark.parametrize("kind", ["memory", "database", "redis"])
def test_each_storage_that_keeps_one(
    reader: Client, kind: str, request: pytest.FixtureRequest, db: None
) -> None:
    storage: Storage = MemoryStorage()
    if kind == "redis":
        options = on_one(request.getfixturevalue("redis_server"))
        storage = RedisStorage(**options, prefix=f"{request.node.name}:")
    elif kind == "database":
        storage = DatabaseStorage()
    made = make_manager(storage=storage, journal_max_entries=100)
    with made as manager, override_manager(manager):
        for number in range(3):
            # The thread has a connection of its own, and would wait for this transaction.
            incidents = [_incident(manager, number)]
            storage.add_incidents(incidents, manager.journal.limits())
        assert views_in(reader.get(JOURNAL)) == ["view 2", "view 1", "view 0"]
        assert "3 in this hour" in shown(reader)


def _incident(manager: RecoveryManager, number: int) -> Incident:
    return Incident(
        uid=f"{number:016x}",
        at_us=int((manager.clock() - 3 + number) * 1_000_000),
        kind="recovery",
        reason="not_found",
        view=f"view {number}",
    )


def test_a_storage_that_keeps_none_says_so(
    reader: Client, client_of: MakeClient, clock: FakeClock
) -> None:
    with make_manager(storage=OwnStorage(clock)) as manager, override_manager(manager):
        assert "OwnStorage keeps no journal" in shown(reader)
        response = client_of(VIEW, EXPORTS).get(EXPORT, follow=True)
        assert "OwnStorage keeps no journal." in response.content.decode()


def test_a_journal_that_is_off_says_so(reader: Client) -> None:
    made = make_manager(storage=MemoryStorage(), journal_max_entries=0)
    with made, override_manager(made):
        assert "The journal is off" in shown(reader)


class DownJournal(DownStorage):
    supports_journal = True

    def list_incidents(self, query: Any) -> Any:
        self._check("listing")


def test_an_outage_is_a_message(reader: Client, namer: Client, clock: FakeClock) -> None:
    storage = DownJournal(clock)
    storage.down = True
    with make_manager(storage=storage) as manager, override_manager(manager):
        assert "The storage can’t be reached" in shown(reader)
        response = namer.get(EXPORT, follow=True)
        assert response.redirect_chain == [(JOURNAL, 302)]
        assert "The storage can’t be reached" in text_of(response)


# The export.


def test_the_export(
    namer: Client, client_of: MakeClient, manager: RecoveryManager, ada: User, clock: FakeClock
) -> None:
    clock.now = datetime(2026, 11, 24, 3, 12, tzinfo=timezone.utc).timestamp()
    note(manager, view="=cmd()", person=digest_of(manager, ada), user="7", token_seconds=1.5)
    note(manager, "expired", view="b")
    response = namer.get(f"{EXPORT}?view=%3Dcmd()")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="journal-')
    (row,) = csv.DictReader(io.StringIO(response.content.decode()))
    assert row["time"] == "2026-11-24T03:12:00.000+00:00"
    assert (row["view"], row["user"], row["token_seconds"]) == ("'=cmd()", "7", "1.5")
    assert row["person"] == digest_of(manager, ada)
    found = json.loads(namer.get(f"{EXPORT}?format=json").content)
    assert found["complete"] is True
    assert {each["view"] for each in found["entries"]} == {"=cmd()", "b"}
    unnamed = json.loads(client_of(VIEW, EXPORTS).get(f"{EXPORT}?format=json").content)
    assert {each["user"] for each in unnamed["entries"]} == {""}


@pytest.mark.parametrize(
    "start",
    ["=", "+", "-", "@", "\t", "\r", "\n", "\r\n=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20"],
)
def test_no_cell_of_an_export_is_a_formula(
    namer: Client, manager: RecoveryManager, start: str
) -> None:
    """As OWASP lists what spreadsheets take for one: clients choose topics and views."""
    note(manager, topic=f"{start}cmd()", view=f"a{start}b", cause=f"{start}x", token_seconds=-1.5)
    text = namer.get(EXPORT).content.decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["topic"] == f"'{start}cmd()"
    assert row["cause"] == f"'{start}x"
    assert row["view"] == f"a{start}b"
    assert row["token_seconds"] == "-1.5"


@pytest.mark.parametrize(("limit", "complete"), [(3, False), (4, True), (9, True)])
def test_an_export_has_a_limit(
    namer: Client,
    manager: RecoveryManager,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    complete: bool,
) -> None:
    monkeypatch.setattr(JournalAdmin, "export_limit", limit)
    monkeypatch.setattr("recovery_app.admin.journal_page.EXPORT_PAGE", 2)
    for number in range(4):
        note(manager, shown_hash=str(number))
    found = json.loads(namer.get(f"{EXPORT}?format=json").content)
    assert (len(found["entries"]), found["complete"]) == (min(limit, 4), complete)


def test_the_link_exports_what_is_shown(namer: Client, manager: RecoveryManager) -> None:
    note(manager, view="a&b")
    note(manager, "expired", view="c")
    response = namer.get(f"{JOURNAL}?view=a%26b")
    link = link_to(response, "Export as JSON")
    entries = json.loads(namer.get(link).content)["entries"]
    assert [each["view"] for each in entries] == ["a&b"]
    assert json.loads(namer.get(link_to(namer.get(JOURNAL), "Export as JSON")).content)["complete"]
