"""All texts of the pages are marked for translation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from django.utils.translation import trans_real

from recovery_app import RecoveryManager
from recovery_app._core.journal import NODE
from recovery_app.admin.journal_words import REASONS_OF
from recovery_app.admin.outcomes import OUTCOMES
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from tests.admin.conftest import MakeClient
from tests.admin.support import CLEANUP, LIST, REVOKE_USER, detail_of, hash_of, revocation_of, save
from tests.admin.test_live import LIVE, put_report
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager
from tests.support.users import save_for

JOURNAL = "/admin/recovery_app/journalentry/"
STATE = {"1": 1, "2": [0] * 300, "3": "0" * 3000, "4": {}, "token": 5}
DATA = {
    *("0001", "0002", "0003", "token", "int", "str", "list", "dict", "json"),
    *("MemoryStorage", "OwnStorage", "revoke_selected", "yes", hash_of("0001"), hash_of("0005")),
}
TIME = re.compile(r"[-\d]+ [:\d]+( [A-Z]+)?")


@pytest.fixture(autouse=True)
def _mark_translations(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wrap translated texts in brackets."""
    catalogue = trans_real.translation("en")
    monkeypatch.setattr(catalogue, "gettext", lambda text: f"⟦{text}⟧")
    monkeypatch.setattr(
        catalogue, "ngettext", lambda one, many, count: f"⟦{one if count == 1 else many}⟧"
    )
    OUTCOMES.after_fork()
    with translation.override("en"):
        yield


def untranslated(client: Client, address: str) -> set[str]:
    """Return the texts that contain words and are neither translated nor data."""
    html = client.get(address).content.decode()
    main = re.sub(r"<style\b.*?</style>", "", html[html.index("<main") :], flags=re.DOTALL)
    texts = re.findall(r">([^<>]+)<", main)
    texts += re.findall(r'(?:aria-label|alt|title|data-expired)="([^"]*)"', main)
    found = {" ".join(unescape(text).split()) for text in texts}
    return {
        text
        for text in found - DATA
        if re.search("[A-Za-z]", text) and not set("⟦⟧") & set(text) and not TIME.fullmatch(text)
    }


def test_each_text_is_marked(operator: Client, manager: RecoveryManager) -> None:
    save(manager, "0001", view="0002", topic="0003", state=STATE, applied_seq=3)
    addresses = [LIST, f"{LIST}?q=9", f"{LIST}?state=expired", f"{LIST}?cursor=9", f"{LIST}?q=0001"]
    for address in (*addresses, detail_of("0001"), revocation_of("0001"), CLEANUP):
        assert untranslated(operator, address) == set(), address
    manager.revoke_socket(hash_of("0001"))
    for address in (LIST, detail_of("0001"), revocation_of("0001")):
        assert untranslated(operator, address) == set(), address


def test_each_text_on_persons_is_marked(operator: Client, manager: RecoveryManager) -> None:
    user, named = User.objects.create_user("0004"), Client()
    named.force_login(User.objects.create_superuser("0003"))
    save_for(manager, user, "0005", view="0002", topic="0003")
    digest = manager.digests_of_user(user)[0]
    digests = {digest, f"{digest[:8]}…"}
    for query in ("", "?user=0004", "?user=99999", "?user=a", f"?person={digest}"):
        assert untranslated(named, f"{LIST}{query}") == set(), query
        assert untranslated(operator, f"{LIST}{query}") <= digests, query
    for query in ("", "?user=a", f"?pk={user.pk}", "?pk=99999"):
        assert untranslated(named, f"{REVOKE_USER}{query}") == set(), query
        assert untranslated(operator, f"{REVOKE_USER}{query}") == set(), query
    assert untranslated(named, detail_of("0005")) == set()
    assert untranslated(operator, detail_of("0005")) <= digests


def test_each_text_of_the_journal_is_marked(client_of: MakeClient, clock: FakeClock) -> None:
    reader = client_of("view_journalentry", "export_journalentry")
    named = Client()
    named.force_login(User.objects.create_superuser("0003"))
    storage = MemoryStorage(clock=clock)
    with make_manager(storage=storage, clock=clock) as manager, override_manager(manager):
        digest = manager.digests_of_user(User.objects.create_user("0004"))[0]
        data = {digest, f"{digest[:8]}…", NODE}
        addresses = [JOURNAL, f"{JOURNAL}?user=0004", f"{JOURNAL}?user=a", f"{JOURNAL}?since=a"]
        addresses += [f"{JOURNAL}?cursor=9", f"{JOURNAL}?cursor=1.{0:016}", f"{JOURNAL}?view=0"]
        for address in (*addresses, f"{JOURNAL}?person={digest}"):
            assert untranslated(named, address) <= data, address
        for kind, reasons in REASONS_OF.items():
            for reason in reasons:
                manager.journal.record(
                    kind=kind,
                    reason=reason,
                    part="person",
                    person=digest,
                    user="7",
                    token_seconds=2.0,
                    left_out=1,
                    shown_hash=hash_of("0001"),
                )
        assert manager.journal.flush()
        for address in (*addresses, f"{JOURNAL}?person={digest}"):
            assert untranslated(named, address) <= data, address
            assert untranslated(reader, address) <= data, address


def test_each_text_of_live_pages_is_marked(client_of: MakeClient, clock: FakeClock) -> None:
    reader, named = client_of("view_storedreport", "view_journalentry"), Client()
    named.force_login(User.objects.create_superuser("0003"))
    storage = MemoryStorage(clock=clock)
    with make_manager(storage=storage, clock=clock) as manager, override_manager(manager):
        user = User.objects.create_user("0004")
        digest = manager.digests_of_user(user)[0]
        data = {digest, f"{digest[:8]}…", NODE, "n", "n (1)", "n (4)", "v", "t"}
        queries = ["", "?user=0004", "?user=a", "?user=99999", f"?person={digest}", "?node=0"]
        for number in (0, 1, 2):
            for uid in range(number):
                put_report(manager, uid, digest=digest, pages=number, outcome="refused")
            for query in queries:
                assert untranslated(named, f"{LIVE}{query}") <= data, query
                assert untranslated(reader, f"{LIVE}{query}") <= data, query
        clock.advance(seconds=61)
        put_report(manager, 0, digest=digest, has_ended=True)
        assert untranslated(named, LIVE) <= data
    for other, entries in ((OwnStorage(clock), 9), (storage, 0)):
        made = make_manager(storage=other, journal_max_entries=entries)
        with made, override_manager(made):
            assert untranslated(reader, LIVE) == set()


def test_each_text_is_marked_if_there_is_no_journal(
    client_of: MakeClient, clock: FakeClock
) -> None:
    reader = client_of("view_journalentry")
    for storage, entries in ((OwnStorage(clock), 9), (MemoryStorage(clock=clock), 0)):
        made = make_manager(storage=storage, journal_max_entries=entries)
        with made, override_manager(made):
            assert untranslated(reader, JOURNAL) == set()


def test_each_text_is_marked_if_there_is_no_list(operator: Client, clock: FakeClock) -> None:
    with make_manager(storage=OwnStorage(clock)) as manager, override_manager(manager):
        assert untranslated(operator, LIST) == set()
        assert untranslated(operator, f"{LIST}?q=9") == set()
