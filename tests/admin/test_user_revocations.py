"""All pages of a user are revoked from the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.middleware import override_manager
from recovery_app.storages import Storage
from tests.admin.support import (
    CONFIRMED,
    LIST,
    REVOKE_USER,
    detail_of,
    is_refused,
    link_to,
    text_of,
)
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager
from tests.support.users import save_for


def test_all_pages_of_a_user_are_revoked_after_confirmation(
    staff: Client, manager: RecoveryManager, clock: FakeClock, ada: User
) -> None:
    bob = User.objects.create_user("bob")
    mine, other = save_for(manager, ada, "mine"), save_for(manager, bob, "other")
    clock.advance(seconds=1)
    address = link_to(staff.get(detail_of("mine")), "Revoke all pages of this user …")
    assert address == f"{REVOKE_USER}?pk={ada.pk}"
    assert link_to(staff.get(LIST, {"user": "ada"}), "Revoke all pages") == address
    asked = text_of(staff.get(address))
    assert f"Revoke all pages of user ada (primary key {ada.pk})?" in asked
    assert "Each of their open pages is closed within 75 seconds." in asked
    for data in ({"pk": str(ada.pk)}, CONFIRMED):
        assert staff.post(REVOKE_USER, data).status_code == 200
    assert manager.recover(mine) == {}
    assert not LogEntry.objects.exists()
    done: Any = staff.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED}, follow=True)
    assert "Revoked all pages of user ada." in text_of(done)
    assert [is_refused(manager, token) for token in (mine, other)] == [True, False]


def test_a_user_is_asked_for(staff: Client, manager: RecoveryManager, ada: User) -> None:
    assert link_to(staff.get(LIST), "Revoke a user …") == REVOKE_USER
    assert "User name or primary key" in text_of(staff.get(REVOKE_USER))
    assert "of user ada (primary key" in text_of(staff.get(REVOKE_USER, {"user": "ada"}))
    seen = staff.get(REVOKE_USER, {"user": "<b>nobody"})
    assert "No user has this name or primary key." in text_of(seen)
    assert 'value="&lt;b&gt;nobody"' in seen.content.decode()
    assert "limited to one process" in text_of(staff.get(REVOKE_USER, {"user": "ada"}))


def test_without_permission_to_view_users_the_key_is_enough(
    operator: Client, manager: RecoveryManager, clock: FakeClock, ada: User
) -> None:
    token = save_for(manager, ada, "mine")
    clock.advance(seconds=1)
    assert "Primary key of the user" in text_of(operator.get(REVOKE_USER))
    assert "only with the permission" in text_of(operator.get(REVOKE_USER, {"user": "ada"}))
    assert "No user has" in text_of(operator.get(REVOKE_USER, {"pk": "ada"}))
    # Whether there is such a user isn't told.
    for pk in (ada.pk, ada.pk + 999):
        seen = text_of(operator.get(REVOKE_USER, {"pk": str(pk)}))
        assert f"of the user with the primary key {pk}" in seen
        assert "There is no such user" not in seen
    response: Any = operator.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED}, follow=True)
    assert f"Revoked all pages of user {ada.pk}." in text_of(response)
    assert LogEntry.objects.get().object_repr == str(ada.pk)
    assert is_refused(manager, token)


def test_a_revocation_is_in_the_history_of_the_user(
    staff: Client, manager: RecoveryManager, ada: User
) -> None:
    for _ in range(2):
        staff.get(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED})
        staff.head(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED})
    assert not LogEntry.objects.exists()
    staff.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED})
    entry = LogEntry.objects.get()
    assert entry.get_edited_object() == ada
    assert (entry.object_repr, entry.action_flag) == ("ada", CHANGE)
    assert entry.get_change_message() == "Revoked all live pages."
    assert entry.user.pk == int(staff.session["_auth_user_id"])
    assert f"/user/{ada.pk}/change/" in staff.get("/admin/").content.decode()


def test_an_outage_is_reported_and_not_logged(staff: Client, clock: FakeClock, ada: User) -> None:
    storage: Storage = DownStorage(clock)
    with make_manager(storage=storage, clock=clock) as manager, override_manager(manager):
        storage.down = True  # type: ignore[attr-defined]
        response: Any = staff.post(REVOKE_USER, {"pk": str(ada.pk), **CONFIRMED}, follow=True)
    assert "The storage can’t be reached" in text_of(response)
    assert "Revoked all pages" not in text_of(response)
    assert not LogEntry.objects.exists()
