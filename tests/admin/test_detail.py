"""The page of one snapshot: its facts, and its state as a tree."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils.timezone import localtime
from hypothesis import given
from hypothesis import strategies as st

from recovery_app import RecoveryManager
from recovery_app.admin import state_tree
from recovery_app.admin.sensitive_names import Redactor
from recovery_app.admin.state_tree import TreeRow, build_tree
from recovery_app.conf import DEFAULT_REDACT as DEFAULT
from recovery_app.middleware import override_manager
from recovery_app.testing.contract.base import snapshot_bytes
from tests.admin.conftest import MakeClient
from tests.admin.support import LIST, detail_of, hash_of, revocation_of, save, text_of
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager

EVIL = "</bdi></details><script>alert(1)</script><img src=x onerror=alert(2)>"
SECRETS = {
    "user": {
        "Password_Hash": "s3cr3t-1",
        "name": "Ada",
        "creditCard": {"number": "s3cr3t-2", "until": ["s3cr3t-3"]},
    },
    "tokens": ["s3cr3t-4", "s3cr3t-5"],
    "steps": [{"apiTOKEN": "s3cr3t-6", "at": 1}],
    "my-ssn": 536_22_1234,
    "secret": None,
}


# The page


def test_the_facts_of_a_snapshot(operator: Client, manager: RecoveryManager) -> None:
    (token,) = save(
        manager, "mine", state={"a": 1}, view="cart", topic="lv:cart", version=3, applied_seq=12
    )
    fence = manager.inspect(hash_of("mine"))
    assert fence is not None
    seen = text_of(operator.get(detail_of("mine")))
    assert fence.info.saved_at is not None
    saved = localtime(fence.info.saved_at)
    for fact in (
        "Socket id mine",
        f"Socket hash {hash_of('mine')} (as in the log)",
        "View cart",
        "Topic lv:cart",
        "Person –",
        "Expires in 5:00",
        "Encoding json",
        "State version 3",
        "Applied seq 12",
        f"Fence {fence.fence}",
        f"Floor {fence.floor}",
        f"Saved {saved:%Y-%m-%d %H:%M:%S} {saved.tzname()}",
        f"Stored bytes {fence.stored_bytes}",
        "a int 1",
    ):
        assert fact in seen
    assert token not in operator.get(detail_of("mine")).content.decode()


def test_a_state_injects_no_html(operator: Client, manager: RecoveryManager) -> None:
    state = {EVIL: EVIL, "list": [EVIL, {EVIL: [EVIL]}]}
    save(manager, EVIL, state=state, view=EVIL, topic=EVIL)
    for address in (detail_of(EVIL), revocation_of(EVIL), f"{LIST}{hash_of(EVIL)}/history/"):
        html = operator.get(address).content.decode()
        assert "<script>alert" not in html
        assert "<img src=x" not in html
    assert EVIL in text_of(operator.get(detail_of(EVIL)))


def test_redacted_values_never_reach_the_page(
    client_of: MakeClient, manager: RecoveryManager
) -> None:
    save(manager, "mine", state=SECRETS)
    hidden = client_of("view_snapshot").get(detail_of("mine")).content.decode()
    assert "s3cr3t" not in hidden
    assert "536221234" not in hidden
    for name in ("Password_Hash", "creditCard", "tokens", "apiTOKEN", "my-ssn", "Ada"):
        assert name in hidden
    assert "6 values are hidden because of their names." in hidden
    shown = client_of("view_snapshot", "view_snapshot_state").get(detail_of("mine"))
    for number in range(1, 7):
        assert f"s3cr3t-{number}" in shown.content.decode()
    assert "6 values are sensitive. You have permission to see them." in text_of(shown)


def test_the_setting_selects_what_is_hidden(
    client_of: MakeClient, manager: RecoveryManager, settings: Any
) -> None:
    save(manager, "mine", state={"iban": "DE12", "password": "hunter2"})
    with override_manager(manager):
        settings.RECOVERY = {"REDACT": ["IBAN"]}
        seen = text_of(client_of("view_snapshot").get(detail_of("mine")))
        assert "DE12" not in seen
        assert "hunter2" in seen
        settings.RECOVERY = {"REDACT": "not a list"}
        seen = text_of(client_of("view_snapshot").get(detail_of("mine")))
        assert "hunter2" not in seen


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"rubbish", "the bytes aren't a snapshot's"),
        (snapshot_bytes(5, b"{"), "it isn't valid JSON"),
        (b"RS\x09" + snapshot_bytes(5)[3:], "format 9"),
    ],
)
def test_an_unreadable_snapshot_is_shown_with_its_problem(
    operator: Client, manager: RecoveryManager, data: bytes, problem: str
) -> None:
    key = "00000000000000aa"
    manager.storage.save(key, data, 60)
    seen = text_of(operator.get(f"{LIST}{key}/change/"))
    assert problem in seen
    assert f"Stored bytes {len(data)}" in seen
    # Without a readable header there is no fence, not one at 1970.
    assert ("Fence" in seen) is data.startswith(b"RS\x02")
    assert "Revoke …" in seen
    assert problem in text_of(operator.get(f"{LIST}{key}/delete/")) or data.startswith(b"RS\x02")


def test_a_missing_snapshot_redirects_to_the_list(
    operator: Client, manager: RecoveryManager
) -> None:
    response: Any = operator.get(detail_of("nobody's"), follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    nobody = hash_of("nobody's")
    assert f"There is no snapshot of socket {nobody}. It has expired" in text_of(response)
    odd: Any = operator.get(f"{LIST}<b>x</b>/change/", follow=True)
    assert "<b>x</b>" not in odd.content.decode()


def test_an_unavailable_storage_is_reported(operator: Client, clock: FakeClock) -> None:
    with (
        make_manager(storage=DownStorage(clock), clock=clock) as manager,
        override_manager(manager),
    ):
        save(manager, "mine")
        manager.storage.down = True  # type: ignore[attr-defined]
        for address in (detail_of("mine"), revocation_of("mine")):
            response = operator.get(address)
            assert response.status_code == 200
            assert "The storage can’t be reached" in text_of(response)
        posted: Any = operator.post(revocation_of("mine"), {"post": "yes"}, follow=True)
        assert "The storage can’t be reached" in text_of(posted)


# The tree


def rows_of(state: dict[str, Any], *parts: str, reveal: bool = False) -> list[TreeRow]:
    return build_tree(state, Redactor(parts or DEFAULT), reveal=reveal).rows


def test_each_type_has_a_text() -> None:
    state = {
        "text": "a\nb",
        "whole": -5,
        "huge": 10**5000,
        "part": 0.5,
        "yes": True,
        "none": None,
        "empty": [],
        "nothing": {},
        "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "day": date(2026, 1, 2),
        "hour": time(3, 4),
        "span": timedelta(hours=25),
        "price": Decimal("9.90"),
        "id": UUID(int=7),
        "raw": b"\x00\xff",
    }
    assert {row.name: (row.type, row.text[:20]) for row in rows_of(state)} == {
        "text": ("str", "a\nb"),
        "whole": ("int", "-5"),
        "huge": ("int", f"{10**5000:#x}"[:20]),
        "part": ("float", "0.5"),
        "yes": ("bool", "True"),
        "none": ("None", ""),
        "empty": ("list", "[]"),
        "nothing": ("dict", "{}"),
        "when": ("datetime", "2026-01-02 03:04:05+"),
        "day": ("date", "2026-01-02"),
        "hour": ("time", "03:04:00"),
        "span": ("timedelta", "1 day, 1:00:00"),
        "price": ("Decimal", "9.90"),
        "id": ("UUID", "00000000-0000-0000-0"),
        "raw": ("bytes", "00 ff"),
    }


class LeakyRepr:
    """A value of a custom serializer whose text contains a secret."""

    def __repr__(self) -> str:
        return "LeakyRepr(password='hunter2')"


def test_a_value_of_an_unknown_type_has_no_text() -> None:
    (row,) = rows_of({"x": LeakyRepr()})
    assert (row.type, row.text) == ("LeakyRepr", "…")


def test_the_rows_of_containers_open_and_close() -> None:
    kinds = [(row.kind, row.name) for row in rows_of({"a": [1, {"b": 2}], "c": 3})]
    assert kinds == [
        ("open", "a"),
        ("value", "0"),
        ("open", "1"),
        ("value", "b"),
        ("close", ""),
        ("close", ""),
        ("value", "c"),
    ]


def test_what_is_left_out_is_counted() -> None:
    (row,) = rows_of({"text": "x" * (state_tree.MAX_CHARACTERS + 7)})
    assert (len(row.text), row.count) == (state_tree.MAX_CHARACTERS, 7)
    rows = rows_of({"items": list(range(state_tree.MAX_ITEMS + 9))})
    assert [row.count for row in rows if row.kind == "rest"] == [9]


def test_a_large_and_deep_state_makes_a_page_of_bounded_size(
    operator: Client, manager: RecoveryManager
) -> None:
    deep: Any = "bottom"
    for _ in range(250):
        deep = [deep]
    wide = {f"group {n}": {f"key {m}": m for m in range(150)} for n in range(150)}
    save(manager, "mine", state={"deep": deep, **wide})
    response = operator.get(detail_of("mine"))
    html = response.content.decode()
    assert html.count("<details") == html.count("</details>")
    assert html.count("<li") < 2 * state_tree.MAX_ROWS
    assert "bottom" not in html
    assert "more items, not shown" in html


NAMES = st.sampled_from(["a", "b", "pass", "passwords", "my Token", "CARD", "x-secret-y", "ſsn"])
LEAF = st.just("s3cr3t") | st.integers() | st.none()
STATES = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


def visible(value: Any, hides: Redactor) -> int:
    """Return how many leaves no ancestor hides, by plain recursion."""
    if isinstance(value, dict):
        return sum(visible(inner, hides) for name, inner in value.items() if not hides.hides(name))
    if isinstance(value, list):
        return sum(visible(inner, hides) for inner in value)
    return int(value == "s3cr3t")


@given(state=st.dictionaries(NAMES, STATES, max_size=4))
def test_nothing_below_a_hidden_name_is_in_any_row(state: dict[str, Any]) -> None:
    redactor = Redactor(DEFAULT)
    rows = build_tree(state, redactor, reveal=False).rows
    assert sum(row.text == "s3cr3t" for row in rows) == visible(state, redactor)
    assert not [row for row in rows if row.kind != "hidden" and redactor.hides(row.name)]
    opened = sum({"open": 1, "close": -1}.get(row.kind, 0) for row in rows)
    assert opened == 0


@pytest.mark.parametrize("name", ["PASSWORD", "old_password_2", "Ssn", "accessToken", "ſecret"])
def test_names_match_in_part_and_in_any_case(name: str) -> None:
    assert Redactor(DEFAULT).hides(name)
    assert not Redactor(DEFAULT).hides("notes")
    assert not Redactor(()).hides("password")


SENSITIVE = """
    password passwd token secret api_key auth card cvv pin ssn cookie
    user_password2 OLD_Password_2 csrftoken clientSecret accessTokens session.cookie Cookies
    apiKey APIKey x-api-key X-API-KEY apikey myApiKeys
    authToken basic_auth JWTAuth oauth OAuth2 authorization authentication AUTH_HEADER
    credit_card creditCard creditcard cardNumber cardnumber card-2 cards
    cvv2 CVV cvvCode pin_code userPIN PINCode PINcode pincode pins pin1 door.pin my-ssn userSsn
"""
ORDINARY = """
    shipping opinion spinner typing mapping pinned spin shoppingItems
    author authors coAuthor authored className class_name sessionName
    discard discarded cardinality wildcard keyboard monkey api key keys passenger notes
"""


@pytest.mark.parametrize("name", SENSITIVE.split())
def test_a_sensitive_name_is_hidden(name: str) -> None:
    assert Redactor(DEFAULT).hides(name)


@pytest.mark.parametrize("name", ORDINARY.split())
def test_an_ordinary_name_is_shown(name: str) -> None:
    assert not Redactor(DEFAULT).hides(name)


@pytest.mark.parametrize(
    ("part", "name", "hidden"),
    [
        ("IBAN", "customer_iban", True),
        ("iban", "Iban2", True),
        ("iban", "cubans", False),
        ("straße", "STRASSE_1", True),
        ("密码", "我的密码", True),
        ("Account Number", "accountNumber", True),
        ("x1", "matrix10", True),
        ("$", "price$", True),
        ("$", "price", False),
        ("(", "a(b", True),
    ],
)
def test_a_part_of_ones_own(part: str, name: str, hidden: bool) -> None:
    assert Redactor([part]).hides(name) is hidden
