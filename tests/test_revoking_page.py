"""The code of ``docs/revoking.md`` does what the page says."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.exceptions import TokenSuperseded
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager
from tests.support.processes import TOP
from tests.support.users import save_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Iterator[RecoveryManager]:
    """Return the manager that the page's receivers use."""
    text = (TOP / "docs" / "revoking.md").read_text()
    (code,) = re.findall(r"```python\n(import logging.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    with make_manager(storage=DownStorage(clock), clock=clock) as made:
        exec(code, names)
        names["get_manager"] = lambda: made
        yield made
    user_logged_out.disconnect(names["revoke_at_logout"])
    for signal in (post_save, post_delete):
        assert signal.disconnect(names["revoke_when_deactivated"], sender=User)


def is_revoked(manager: RecoveryManager, token: str) -> bool:
    try:
        manager.take_over(token)
    except TokenSuperseded:
        return True
    return False


def test_a_logout_ends_all_pages(manager: RecoveryManager, clock: FakeClock) -> None:
    user = User.objects.create_user("ada")
    token = save_for(manager, user, "mine")
    clock.advance(seconds=1)
    client = Client()
    client.force_login(user)
    client.logout()
    assert is_revoked(manager, token)


@pytest.mark.parametrize("how", ["deactivated", "deleted", "changed"])
def test_a_user_who_is_deactivated_has_no_pages(
    manager: RecoveryManager,
    clock: FakeClock,
    how: str,
    django_capture_on_commit_callbacks: Any,
) -> None:
    user = User.objects.create_user("ada")
    token = save_for(manager, user, "mine")
    clock.advance(seconds=1)
    with django_capture_on_commit_callbacks(execute=True):
        if how == "deleted":
            user.delete()
        else:
            user.is_active = how == "changed"
            user.save()
    assert is_revoked(manager, token) is (how != "changed")


def test_an_outage_stops_no_logout(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    manager.storage.down = True  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR):
        client.logout()
    assert "weren't revoked" in caplog.text
