"""Fixtures: managers, and clients with permissions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from recovery_app import RecoveryManager
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.core.support import make_manager

MakeClient = Callable[..., Client]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.admin.urls"


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that the test advances."""
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Iterator[RecoveryManager]:
    """Return the current manager, with a memory storage."""
    made = make_manager(storage=MemoryStorage(clock=clock), clock=clock)
    with made, override_manager(made):
        yield made


@pytest.fixture
def client_of(db: None) -> MakeClient:
    """Return a function that logs in a staff user with some permissions."""

    def make(*permissions: str, is_staff: bool = True) -> Client:
        user = User.objects.create_user(f"user {User.objects.count()}", is_staff=is_staff)
        for codename in permissions:
            found = Permission.objects.get(
                content_type__app_label="recovery_app", codename=codename
            )
            user.user_permissions.add(found)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def operator(client_of: MakeClient) -> Client:
    """Return the client of a user who may view and revoke snapshots."""
    return client_of("view_snapshot", "delete_snapshot")


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", last_login=timezone.now())


@pytest.fixture
def staff(client_of: MakeClient, db: None) -> Client:
    """Return the client of somebody who may also view users."""
    client = client_of("view_snapshot", "delete_snapshot")
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    return client
