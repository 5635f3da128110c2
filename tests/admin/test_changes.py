"""Changes made from the admin: confirmed, by POST, and logged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageUnavailable, TokenSuperseded
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from recovery_app.testing.contract.base import OWNER
from tests.admin.support import (
    CLEANUP,
    CONFIRMED,
    LIST,
    detail_of,
    hash_of,
    revocation_of,
    save,
    selected,
    text_of,
)
from tests.clock import FakeClock
from tests.core.support import make_manager


def test_a_snapshot_is_revoked_after_confirmation(
    operator: Client, manager: RecoveryManager
) -> None:
    (token,) = save(manager, "mine")
    save(manager, "other")
    asked = text_of(operator.get(revocation_of("mine")))
    assert "a page that reconnects starts with a new state" in asked
    # Tested in tests/consumers/test_revocations.py.
    assert "A page that is still open is closed within 75 seconds." in asked
    assert operator.post(revocation_of("mine")).status_code == 200
    assert manager.recover(token) == {"count": 1}
    response: Any = operator.post(revocation_of("mine"), CONFIRMED, follow=True)
    assert "Revoked 1 snapshot." in text_of(response)
    assert manager.count() == 1
    with pytest.raises(TokenSuperseded):
        manager.save(token, {"count": 2})


def test_a_bound_snapshot_is_revoked(operator: Client, manager: RecoveryManager) -> None:
    token = manager.create_token("mine", binding=OWNER)
    manager.save(token, {"count": 1}, binding=OWNER)
    operator.post(revocation_of("mine"), CONFIRMED)
    with pytest.raises(TokenSuperseded):
        manager.save(token, {"count": 2}, binding=OWNER)


def test_selected_snapshots_are_revoked_after_confirmation(
    operator: Client, manager: RecoveryManager
) -> None:
    save(manager, "one", "two", "three")
    asked: Any = operator.post(LIST, selected("one", "two"))
    assert "Revoke these 2 snapshots?" in text_of(asked)
    assert manager.count() == 3
    for field in ("one", "two"):
        assert f'value="{hash_of(field)}"' in asked.content.decode()
    response: Any = operator.post(LIST, selected("one", "two", "gone", **CONFIRMED), follow=True)
    assert "Revoked 2 snapshots." in text_of(response)
    assert "1 snapshot no longer existed." in text_of(response)
    assert [info.socket_id for info in manager.snapshots().items] == ["three"]


@pytest.mark.parametrize("form", [{"action": "revoke_selected"}, {**selected("one"), "action": ""}])
def test_without_a_selection_nothing_is_revoked(
    operator: Client, manager: RecoveryManager, form: dict[str, Any]
) -> None:
    save(manager, "one")
    response: Any = operator.post(LIST, {**form, **CONFIRMED}, follow=True)
    assert "nothing was revoked" in text_of(response)
    assert manager.count() == 1


def test_expired_snapshots_are_removed_after_confirmation(
    operator: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    save(manager, "old", "older")
    clock.advance(seconds=manager.ttl + 1)
    save(manager, "new")
    assert "still stored: 2." in text_of(operator.get(CLEANUP))
    assert manager.sample().expired == 2
    response: Any = operator.post(CLEANUP, CONFIRMED, follow=True)
    assert "Removed 2 expired snapshots." in text_of(response)
    assert (manager.sample().expired, manager.count()) == (0, 1)


def test_each_change_is_logged(operator: Client, manager: RecoveryManager) -> None:
    save(manager, "one", "two", "three")
    operator.post(revocation_of("one"), CONFIRMED)
    operator.post(LIST, selected("two", "three", **CONFIRMED))
    operator.post(CLEANUP, CONFIRMED)
    found = LogEntry.objects.order_by("pk")
    assert [(each.object_repr, each.object_id, each.get_change_message()) for each in found] == [
        *((name, hash_of(name), "Revoked.") for name in ("one", "two", "three")),
        ("Expired snapshots", None, "Removed 0 expired snapshots."),
    ]
    for entry in found:
        assert entry.action_flag == DELETION
        assert entry.user.pk == int(operator.session["_auth_user_id"])
        assert entry.content_type is not None
        assert entry.content_type.model == "snapshot"
    assert "one" in operator.get("/admin/").content.decode()
    assert "Revoked." in text_of(operator.get(f"{LIST}{hash_of('one')}/history/"))


class FailsLater(MemoryStorage):
    """A storage that fails during a clean-up."""

    def cleanup_batches(self, size: int) -> Iterator[int]:
        yield 5
        yield 2
        raise StorageUnavailable("FailsLater", "clean-up")


def test_a_clean_up_that_fails_is_logged_with_what_it_removed(operator: Client) -> None:
    with make_manager(storage=FailsLater()) as manager, override_manager(manager):
        response: Any = operator.post(CLEANUP, CONFIRMED, follow=True)
    seen = text_of(response)
    assert "The storage can’t be reached" in seen
    assert "Removed 7 expired snapshots." in seen
    assert LogEntry.objects.get().get_change_message() == "Removed 7 expired snapshots."


def test_a_get_changes_nothing(operator: Client, manager: RecoveryManager) -> None:
    save(manager, "mine")
    for address in (LIST, CLEANUP, revocation_of("mine"), detail_of("mine")):
        operator.get(address, {**selected("mine"), **CONFIRMED})
        operator.head(address, {**selected("mine"), **CONFIRMED})
    assert manager.count() == 1
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("address", [LIST, CLEANUP, revocation_of("mine")])
def test_a_cross_site_request_changes_nothing(
    operator: Client, manager: RecoveryManager, address: str
) -> None:
    save(manager, "mine")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.get(LIST).status_code == 200
    assert strict.post(address, selected("mine", **CONFIRMED)).status_code == 403
    assert manager.count() == 1


def test_a_revoked_snapshot_shows_only_its_marker(
    operator: Client, manager: RecoveryManager
) -> None:
    save(manager, "mine")
    operator.post(revocation_of("mine"), CONFIRMED)
    seen = text_of(operator.get(detail_of("mine")))
    assert "This socket was revoked." in seen
    assert "Revoke …" not in seen
    assert "There is nothing to revoke" in text_of(operator.get(revocation_of("mine")))
    response: Any = operator.post(revocation_of("mine"), CONFIRMED, follow=True)
    assert "1 snapshot no longer existed." in text_of(response)
