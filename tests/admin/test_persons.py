"""Whose a snapshot is: who may know it, and searches and revocations by user."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.admin.options import SnapshotAdmin
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from tests.admin.support import (
    CONFIRMED,
    LIST,
    REVOKE_USER,
    detail_of,
    hash_of,
    ids_of,
    is_refused,
    link_to,
    save,
    text_of,
)
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager
from tests.support.processes import TOP
from tests.support.users import save_for

OLD, NEW = b"o" * 16 + b"0123456789abcdef", b"n" * 16 + b"0123456789abcdef"


def digest_of(manager: RecoveryManager, user: User) -> str:
    return manager.digests_of_user(user)[0]


# Who a digest stands for


def test_only_who_may_view_users_sees_names(
    operator: Client, staff: Client, manager: RecoveryManager, ada: User
) -> None:
    save_for(manager, ada, "mine")
    digest = digest_of(manager, ada)
    listed, seen = text_of(operator.get(LIST)), text_of(operator.get(detail_of("mine")))
    assert f"mine {digest[:8]}… 2 bytes" in listed
    assert f"Person {digest} (a digest: a visitor, or a user not known by name here)" in seen
    for text in (listed, seen):
        assert "ada" not in text.split()
        assert "this user" not in text
    assert "mine ada 2 bytes" in text_of(staff.get(LIST))
    seen = text_of(staff.get(detail_of("mine")))
    assert f"Person ada (primary key {ada.pk}) All snapshots of this person" in seen
    assert "Revoke all pages of this user …" in seen


def test_without_names_to_show_no_user_is_looked_up(
    operator: Client,
    staff: Client,
    manager: RecoveryManager,
    ada: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> Any:
        raise AssertionError("users were looked up")

    for function in ("latest_users", "find_user", "user_with_pk"):
        monkeypatch.setattr(f"recovery_app.admin.persons.{function}", fail)
    save(manager, "nobody's")
    assert "nobody's –" in text_of(staff.get(LIST))
    assert "Person –" in text_of(staff.get(detail_of("nobody's")))
    save_for(manager, ada, "mine")
    for address in (LIST, detail_of("mine"), f"{LIST}?user=ada", f"{REVOKE_USER}?pk={ada.pk}"):
        assert operator.get(address).status_code == 200


def test_a_visitor_has_a_digest_only(staff: Client, manager: RecoveryManager) -> None:
    save_for(manager, b"a session", "visit")
    (info,) = manager.snapshots().items
    seen = text_of(staff.get(detail_of("visit")))
    assert f"Person {info.person} (a digest" in seen
    assert "this user" not in seen
    assert ids_of(staff.get(LIST, {"person": info.person})) == ["visit"]


def test_a_bounded_number_of_users_is_looked_at(
    staff: Client, manager: RecoveryManager, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = User.objects.create_user("never")
    for user in (ada, never):
        save_for(manager, user, user.username)
    monkeypatch.setattr(SnapshotAdmin, "named_users", 2)
    seen = text_of(staff.get(LIST))
    assert "ada ada" in seen
    assert f"never {digest_of(manager, never)[:8]}…" in seen
    # Who never logged in comes last, the newest first.
    monkeypatch.setattr(SnapshotAdmin, "named_users", 3)
    assert "never never" in text_of(staff.get(LIST))
    User.objects.create_user("newer")
    assert "never never" not in text_of(staff.get(LIST))
    monkeypatch.setattr(SnapshotAdmin, "named_users", 0)
    assert "ada ada" not in text_of(staff.get(LIST))
    # Whom one searches for is known without that.
    assert "never never" in text_of(staff.get(LIST, {"user": "never"}))


# Searches


def test_all_snapshots_of_a_user_are_found(
    staff: Client, manager: RecoveryManager, ada: User
) -> None:
    bob = User.objects.create_user(str(ada.pk))
    for number in range(3):
        save_for(manager, ada, f"hers {number}", view="cart" if number else "")
    save_for(manager, bob, "his", view="cart")
    hers = [f"hers {number}" for number in range(3)]
    found = staff.get(LIST, {"user": " ada "})
    assert sorted(ids_of(found)) == hers
    assert f"Snapshots of user ada (primary key {ada.pk})" in text_of(found)
    # Names come first, so that the key is the name of another.
    assert ids_of(staff.get(LIST, {"user": str(ada.pk)})) == ["his"]
    assert ids_of(staff.get(LIST, {"user": str(bob.pk)})) == ["his"]
    assert sorted(ids_of(staff.get(LIST, {"user": "ada", "view": "cart"}))) == hers[1:]
    assert ids_of(staff.get(LIST, {"user": "ada", "q": "hers 2"})) == ["hers 2"]
    assert ids_of(staff.get(LIST, {"user": "ada", "q": "his"})) == []
    link = link_to(staff.get(detail_of("hers 1")), "All snapshots")
    assert sorted(ids_of(staff.get(link))) == hers


def test_a_search_keeps_the_person(staff: Client, manager: RecoveryManager, ada: User) -> None:
    save_for(manager, ada, "mine")
    digest = digest_of(manager, ada)
    html = staff.get(LIST, {"person": digest}).content.decode()
    assert f'name="person" value="{digest}"' in html
    assert f"?person={digest}&amp;o=" in html
    html = staff.get(LIST, {"user": "ada", "person": "0" * 32}).content.decode()
    assert "0" * 32 not in html
    assert 'name="user" value="ada"' in html


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"user": "nobody"}, "No user has this name or primary key."),
        ({"user": "\0"}, "No user has this name or primary key."),
        ({"user": "9" * 5000}, "No user has this name or primary key."),
        ({"person": "ada"}, "This page or search isn’t valid."),
        ({"person": "A" * 32}, "This page or search isn’t valid."),
    ],
)
def test_bad_input_is_reported(
    staff: Client, manager: RecoveryManager, parameters: dict[str, str], said: str
) -> None:
    save(manager, "one")
    found = staff.get(LIST, parameters)
    assert said in text_of(found)
    assert ids_of(found) == []


def test_several_users_of_one_name(
    staff: Client, manager: RecoveryManager, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bob", "cy"):
        User.objects.create_user(name, email="office@example.com")
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    assert "Several users have this name." in text_of(
        staff.get(LIST, {"user": "office@example.com"})
    )


def test_a_search_by_user_needs_the_permission(
    operator: Client, manager: RecoveryManager, ada: User
) -> None:
    save_for(manager, ada, "mine")
    html = operator.get(LIST).content.decode()
    assert 'name="user"' not in html
    for who in ("ada", "nobody", str(ada.pk)):
        found = operator.get(LIST, {"user": who})
        assert "Users can be found only with the permission to view them." in text_of(found)
        assert ids_of(found) == []
    assert ids_of(operator.get(LIST, {"person": digest_of(manager, ada)})) == ["mine"]


def test_a_deleted_user_is_found_by_the_key(
    staff: Client, manager: RecoveryManager, ada: User
) -> None:
    pk = str(ada.pk)
    save_for(manager, ada, "mine")
    ada.delete()
    found = staff.get(LIST, {"user": pk})
    assert ids_of(found) == ["mine"]
    assert f"Snapshots of the user with the primary key {pk} . There is no such" in text_of(found)


def test_snapshots_of_an_older_secret_are_found(staff: Client, clock: FakeClock, ada: User) -> None:
    storage = MemoryStorage(clock=clock)
    before = make_manager(storage=storage, clock=clock, secret=OLD)
    after = make_manager(storage=storage, clock=clock, secret=NEW, secret_fallbacks=[OLD])
    save_for(before, ada, "old")
    save_for(after, ada, "new")
    with override_manager(after):
        assert sorted(ids_of(staff.get(LIST, {"user": "ada"}))) == ["new", "old"]
        assert "old ada" in text_of(staff.get(LIST))
        for digest in after.digests_of_user(ada):
            assert sorted(ids_of(staff.get(LIST, {"person": digest}))) == ["new", "old"]
        token = save_for(before, ada, "older")
        clock.advance(seconds=1)
        staff.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED})
        assert is_refused(after, token)


def test_a_storage_that_can_not_list_says_so(staff: Client, clock: FakeClock, ada: User) -> None:
    with make_manager(storage=OwnStorage(clock), clock=clock) as manager, override_manager(manager):
        token = save_for(manager, ada, "mine")
        assert 'name="user"' not in staff.get(LIST).content.decode()
        seen = text_of(staff.get(LIST, {"user": "ada"}))
        assert "OwnStorage can’t list its snapshots, so they can’t be searched by person." in seen
        seen = text_of(staff.get(detail_of("mine")))
        assert "Person ada" in seen
        assert "All snapshots" not in seen
        clock.advance(seconds=1)
        assert "All snapshots" not in text_of(staff.get(REVOKE_USER, {"user": "ada"}))
        staff.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED})
        assert is_refused(manager, token)


def test_revoked_snapshots_have_no_person(
    staff: Client, manager: RecoveryManager, ada: User
) -> None:
    save_for(manager, ada, "mine")
    manager.revoke_socket(hash_of("mine"))
    assert "Person" not in text_of(staff.get(detail_of("mine")))


def test_a_user_model_without_username_and_last_login() -> None:
    module = "tests.support.members.try_admin"
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Revoked all pages of user ada@example.com" in done.stdout
