"""The permission that each URL requires."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from recovery_app import RecoveryManager
from tests.admin.conftest import MakeClient
from tests.admin.support import (
    CLEANUP,
    CONFIRMED,
    LIST,
    REVOKE_USER,
    detail_of,
    hash_of,
    save,
    selected,
    text_of,
)

VIEW, DELETE, STATE = "view_snapshot", "delete_snapshot", "view_snapshot_state"
MINE = f"{LIST}{hash_of('mine')}/"
REQUESTS: list[Any] = [
    pytest.param("get", LIST, {}, {VIEW}, id="list"),
    pytest.param("get", f"{MINE}change/", {}, {VIEW}, id="detail"),
    pytest.param("get", MINE, {}, {VIEW}, id="bare address"),
    pytest.param("get", f"{MINE}history/", {}, {VIEW}, id="history"),
    pytest.param("get", f"{MINE}delete/", {}, {DELETE}, id="ask to revoke"),
    pytest.param("post", f"{MINE}delete/", CONFIRMED, {DELETE}, id="revoke"),
    pytest.param("post", LIST, selected("mine"), {VIEW, DELETE}, id="ask to revoke selected"),
    pytest.param("post", LIST, selected("mine", **CONFIRMED), {VIEW, DELETE}, id="revoke selected"),
    pytest.param("get", CLEANUP, {}, {DELETE}, id="ask to clean up"),
    pytest.param("post", CLEANUP, CONFIRMED, {DELETE}, id="clean up"),
    pytest.param("get", REVOKE_USER, {}, {DELETE}, id="ask for a user"),
    pytest.param("get", REVOKE_USER, {"pk": "1"}, {DELETE}, id="ask to revoke a user"),
    pytest.param("post", REVOKE_USER, {"pk": "1", **CONFIRMED}, {DELETE}, id="revoke a user"),
]
each_request = pytest.mark.parametrize(("method", "address", "form", "needed"), REQUESTS)


@pytest.fixture(autouse=True)
def _snapshot(manager: RecoveryManager) -> None:
    save(manager, "mine", state={"password": "hunter2", "count": 41})


def ask(client: Client, method: str, address: str, form: dict[str, Any]) -> int:
    """Return the status of the response."""
    status: int = getattr(client, method)(address, form).status_code
    return status


@each_request
def test_the_required_permissions_are_enough(
    client_of: MakeClient, method: str, address: str, form: dict[str, Any], needed: set[str]
) -> None:
    assert ask(client_of(*needed), method, address, form) in (200, 302)


@each_request
def test_each_missing_permission_is_a_403(
    client_of: MakeClient,
    manager: RecoveryManager,
    method: str,
    address: str,
    form: dict[str, Any],
    needed: set[str],
) -> None:
    for lacking in needed:
        others = {VIEW, DELETE, STATE} - {lacking}
        assert ask(client_of(*others), method, address, form) == 403, lacking
    assert ask(client_of(), method, address, form) == 403
    assert manager.count() == 1
    assert not LogEntry.objects.exists()


@each_request
def test_non_staff_users_are_redirected_to_the_login(
    client_of: MakeClient, method: str, address: str, form: dict[str, Any], needed: set[str]
) -> None:
    everything = client_of(VIEW, DELETE, STATE, is_staff=False)
    for client in (everything, Client()):
        response = getattr(client, method)(address, form)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


def test_the_bare_url_redirects_to_the_detail_page(client_of: MakeClient) -> None:
    response: Any = client_of(VIEW).get(MINE)
    assert (response.status_code, response["Location"]) == (302, f"{MINE}change/")


def test_hidden_values_need_a_separate_permission(client_of: MakeClient) -> None:
    seen = text_of(client_of(VIEW, DELETE).get(detail_of("mine")))
    assert "hunter2" not in seen
    assert "password hidden" in seen
    assert "41" in seen
    assert "hunter2" in text_of(client_of(VIEW, STATE).get(detail_of("mine")))


def test_actions_without_permission_are_not_offered(client_of: MakeClient) -> None:
    for permissions, offered in (((VIEW,), False), ((VIEW, DELETE), True)):
        client = client_of(*permissions)
        listed = client.get(LIST).content.decode()
        assert ("Revoke selected" in listed) is offered
        assert ('type="checkbox"' in listed) is offered
        assert ("Remove expired" in listed) is offered
        assert ("Revoke a user" in listed) is offered
        assert ("Revoke …" in client.get(detail_of("mine")).content.decode()) is offered
        assert "Add snapshot" not in listed


def test_without_permission_to_view_revoking_redirects_to_the_index(client_of: MakeClient) -> None:
    client = client_of(DELETE)
    response: Any = client.post(f"{MINE}delete/", CONFIRMED)
    assert response["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_superuser_may_do_everything(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert "hunter2" in text_of(client.get(detail_of("mine")))
    assert "Snapshots" in client.get("/admin/").content.decode()


def test_there_is_one_set_of_permissions(db: None) -> None:
    found = Permission.objects.filter(content_type__app_label="recovery_app")
    assert sorted(found.values_list("codename", flat=True)) == [
        DELETE,
        "delete_storedgroup",
        "export_journalentry",
        "view_journalentry",
        VIEW,
        STATE,
        "view_storedgroup",
        "view_storedgroup_messages",
        "view_storedreport",
    ]


@pytest.mark.parametrize("address", [f"{LIST}add/", f"{MINE}password/"])
def test_nothing_can_be_added_or_changed(client_of: MakeClient, address: str) -> None:
    client = client_of(VIEW, DELETE, STATE)
    for method in ("get", "post"):
        response = getattr(client, method)(address)
        assert response.status_code in (302, 404, 405)
