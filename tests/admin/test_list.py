"""The list of snapshots: rows, search, order and pages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.admin.options import SnapshotAdmin
from recovery_app.admin.summary import MAX_VIEWS
from recovery_app.middleware import override_manager
from tests.admin.support import (
    LIST,
    hash_of,
    ids_of,
    link_to,
    pages_of,
    save,
    text_of,
)
from tests.clock import FakeClock
from tests.core.support import DownStorage, OwnStorage, make_manager

EVIL = '<script>alert("x")</script>\u202e'
NUMBERED = [f"socket-{number:02}" for number in range(25)]


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set ten rows per page."""
    monkeypatch.setattr(SnapshotAdmin, "list_per_page", 10)


def flat(pages: list[list[str]]) -> list[str]:
    """Return the items of all pages."""
    return [socket_id for page in pages for socket_id in page]


def test_a_row_has_all_columns(
    operator: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    save(manager, "mine", state={"text": "x" * 5000}, view="cart", topic="lv:cart:7", version=3)
    clock.advance(seconds=51)
    response = operator.get(LIST)
    head = re.findall(r'<th scope="col" class="column-(\w+)', response.content.decode())
    assert head == [
        *("socket_id", "view", "topic", "person"),
        *("size_bytes", "saved_at", "expires_in_seconds", "version"),
    ]
    row = text_of(response).split("Version ")[1]
    assert re.match(
        r"mine cart lv:cart:7 – 4\.9 KB \d{4}-\d\d-\d\d \d\d:\d\d:\d\d 4:09 open 3 ", row
    )
    assert 'data-recovery-seconds="249.0"' in response.content.decode()


def test_pages_follow_the_cursor(
    operator: Client, manager: RecoveryManager, short_pages: None
) -> None:
    save(manager, *NUMBERED)
    pages = pages_of(operator, LIST)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert sorted(flat(pages)) == NUMBERED
    second = operator.get(LIST + link_to(operator.get(LIST), "Next page"))
    assert ids_of(operator.get(LIST + link_to(second, "First page"))) == pages[0]


def test_columns_sort_in_both_directions(
    operator: Client, manager: RecoveryManager, short_pages: None
) -> None:
    save(manager, *NUMBERED)
    first = operator.get(LIST)
    up = operator.get(LIST + link_to(first, "Socket id"))
    assert ids_of(up) == NUMBERED[:10]
    assert 'aria-sort="ascending"' in up.content.decode()
    down = LIST + link_to(up, "Socket id")
    assert flat(pages_of(operator, down)) == NUMBERED[::-1]
    assert 'aria-sort="descending"' in operator.get(down).content.decode()
    assert "o=-size_bytes" in link_to(first, "Size")


def test_a_search_finds_a_snapshot_by_its_id_or_hash(
    operator: Client, manager: RecoveryManager
) -> None:
    save(manager, *NUMBERED, "socket-1")
    for text in ("socket-1", hash_of("socket-1"), "  socket-1 "):
        response = operator.get(LIST, {"q": text})
        assert ids_of(response) == ["socket-1"]
    more = operator.get(LIST + link_to(operator.get(LIST, {"q": "socket-1"}), "Ids that start"))
    assert sorted(ids_of(more)) == ["socket-1", *NUMBERED[10:20]]


def test_a_search_finds_snapshots_by_the_start_of_their_ids(
    operator: Client, manager: RecoveryManager, short_pages: None
) -> None:
    save(manager, *NUMBERED, "other")
    pages = pages_of(operator, f"{LIST}?q=socket-")
    assert sorted(flat(pages)) == NUMBERED
    assert "10 snapshots on this page." in text_of(operator.get(LIST, {"q": "socket-"}))
    assert "No snapshots match." in text_of(operator.get(LIST, {"q": "nobody"}))
    assert "No snapshots match." in text_of(operator.get(LIST, {"q": "Socket-"}))


def test_a_long_search_reports_its_progress(
    operator: Client, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery_app.storages.base.MAX_LOOKED_AT", 10)
    monkeypatch.setattr(SnapshotAdmin, "list_per_page", 5)
    with make_manager(storage=Listing(clock)) as manager, override_manager(manager):
        save(manager, *NUMBERED)
        response = operator.get(LIST, {"q": "socket-2"})
        assert "No matches among the 10 snapshots searched so far." in text_of(response)
        pages = pages_of(operator, f"{LIST}?q=socket-2", "Continue the search")
    assert [len(page) for page in pages] == [0, 0, 5]


class Listing(OwnStorage):
    """A custom storage that can list, in insertion order."""

    supports_listing = True

    def list_entries(self, *, prefix: str = "", cursor: str | None = None, limit: int = 100) -> Any:
        from recovery_app.storages import Entry, EntryPage

        start = int(cursor or 0)
        keys = list(self._stored)[start : start + limit]
        entries = [Entry(key=key, data=self._stored[key][0], expires_in=9) for key in keys]
        more = start + limit < len(self._stored)
        return EntryPage(entries=entries, next_cursor=str(start + limit) if more else None)

    def count(self) -> int:
        return len(self._stored)


def test_the_list_is_filtered_by_view_and_state(
    operator: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    save(manager, "old", view="cart")
    clock.advance(seconds=manager.ttl + 1)
    save(manager, "one", "two", view="cart")
    save(manager, "three", view="chat & <b>talk</b>")
    first = operator.get(LIST)
    assert sorted(ids_of(operator.get(LIST + link_to(first, "cart")))) == ["one", "two"]
    talk = operator.get(LIST + link_to(first, "chat &amp; &lt;b&gt;talk&lt;/b&gt;"))
    assert ids_of(talk) == ["three"]
    assert ids_of(operator.get(LIST, {"view": "cart", "q": "t"})) == ["two"]
    expired = operator.get(LIST + link_to(first, "Expired"))
    assert ids_of(expired) == ["old"]
    assert "expired" in text_of(expired).split("Version ")[1]
    assert ids_of(operator.get(LIST, {"view": "nowhere"})) == []
    assert link_to(operator.get(LIST, {"view": "nowhere"}), "nowhere") == "?view=nowhere"


def test_a_search_keeps_filters_and_order(operator: Client, manager: RecoveryManager) -> None:
    save(manager, "one", view="cart")
    html = operator.get(LIST, {"view": "cart", "o": "-size_bytes", "state": "expired"}).content
    for field in ('name="view" value="cart"', 'name="o" value="-size_bytes"', 'name="state"'):
        assert field in html.decode()


def test_a_view_without_a_filter_can_be_searched_for(
    operator: Client, manager: RecoveryManager
) -> None:
    names = [f"user-{number:02}" for number in range(MAX_VIEWS + 2)]
    for name in names:
        save(manager, name, f"{name} again", view=name)
    html = operator.get(LIST).content.decode()
    assert re.search('<input type="text"[^>]* name="view" value=""', html)
    missing = [name for name in names if f'"?view={name}"' not in html]
    assert len(missing) == 2
    found = operator.get(LIST, {"q": "", "view": missing[0]})
    assert sorted(ids_of(found)) == [missing[0], f"{missing[0]} again"]


def test_there_is_no_filter_for_expired_snapshots_if_the_storage_removes_them(
    operator: Client, clock: FakeClock
) -> None:
    with make_manager(storage=Listing(clock)) as manager, override_manager(manager):
        save(manager, "live")
        response = operator.get(LIST, {"state": "expired"})
    assert "Expired" not in text_of(response)
    assert "Show all" not in text_of(response)
    assert ids_of(response) == ["live"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"cursor": "rubbish"},
        {"cursor": '["a", "b"]'},
        {"q": "x" * 300},
        {"q": "\x00"},
        {"view": "x" * 300},
        {"o": "size_bytes", "cursor": '["a", "b"]'},
    ],
)
def test_invalid_parameters_are_reported(
    operator: Client, manager: RecoveryManager, parameters: dict[str, str]
) -> None:
    save(manager, "one")
    response = operator.get(LIST, parameters)
    assert response.status_code == 200
    assert "This page or search isn’t valid." in text_of(response)


@pytest.mark.parametrize("parameters", [{"o": "nonsense"}, {"o": "-state"}, {"state": "dead"}])
def test_unknown_values_are_ignored(
    operator: Client, manager: RecoveryManager, parameters: dict[str, str]
) -> None:
    save(manager, "one")
    assert ids_of(operator.get(LIST, parameters)) == ["one"]


def test_stored_values_are_escaped(operator: Client, manager: RecoveryManager) -> None:
    save(manager, EVIL, view=EVIL, topic=EVIL)
    for parameters in ({}, {"q": EVIL}, {"view": EVIL}, {"q": "<script>"}):
        response = operator.get(LIST, parameters)
        assert "<script>alert" not in response.content.decode()
        assert "&lt;script&gt;" in response.content.decode()
    assert ids_of(operator.get(LIST)) == [EVIL]
    # The effect of the bidirectional override ends with the element.
    assert f"<bdi>{'&lt;script&gt;'}" in operator.get(LIST).content.decode()


def test_an_unreadable_snapshot_is_listed_with_its_problem(
    operator: Client, manager: RecoveryManager
) -> None:
    key = "00000000000000aa"
    manager.storage.save(key, b"rubbish", 60)
    response = operator.get(LIST)
    assert ids_of(response) == [key]
    assert "⚠ The snapshot can't be read" in text_of(response)
    assert ids_of(operator.get(LIST, {"q": key})) == [key]


def test_a_storage_that_cant_list_explains_the_alternatives(
    operator: Client, clock: FakeClock
) -> None:
    with make_manager(storage=OwnStorage(clock), clock=clock) as manager, override_manager(manager):
        save(manager, "mine")
        seen = text_of(operator.get(LIST))
        assert "OwnStorage can’t list its snapshots" in seen
        assert "use RedisStorage" in seen
        assert "complete socket id" in seen
        found = operator.get(LIST, {"q": "mine"})
        assert ids_of(found) == ["mine"]
        assert "unknown" in text_of(found)
        assert "Ids that start" not in text_of(found)
        assert "No snapshots match." in text_of(operator.get(LIST, {"q": "min"}))


class Broken(DownStorage):
    """A storage that raises an unexpected error."""

    supports_listing = True

    def sample(self, limit: int = 1000) -> Any:
        raise ZeroDivisionError("with a secret in its text")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (DownStorage, "The storage can’t be reached, so its contents are unknown."),
        (Broken, "The storage failed (ZeroDivisionError). See the log for details."),
    ],
)
def test_a_storage_that_fails_is_reported_without_a_500(
    operator: Client, clock: FakeClock, storage: Any, said: str, caplog: Any
) -> None:
    with make_manager(storage=storage(clock), clock=clock) as manager, override_manager(manager):
        save(manager, "mine")
        manager.storage.down = True  # type: ignore[attr-defined]
        response = operator.get(LIST, {"q": "mine"})
    assert response.status_code == 200
    seen = text_of(response)
    assert said in seen
    assert "No snapshot" not in seen
    assert "There are no" not in seen
    assert "secret in" not in seen


def test_an_empty_storage_says_so(operator: Client, manager: RecoveryManager) -> None:
    assert "There are no snapshots." in text_of(operator.get(LIST))
