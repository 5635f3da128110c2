"""The admin with another user model, for a process of its own: ``python -m`` this."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import django
from django.conf import settings


def main() -> None:
    """Find and revoke the snapshots of a member; fail where the page doesn't say so."""
    from django.contrib.admin.models import LogEntry
    from django.core.management import call_command
    from django.test import Client

    from recovery_app import RecoveryManager
    from recovery_app.middleware import override_manager
    from recovery_app.storages import MemoryStorage
    from tests.admin.support import CONFIRMED, LIST, detail_of, ids_of, text_of
    from tests.support.members.models import Member
    from tests.support.users import save_for

    call_command("migrate", run_syncdb=True, verbosity=0)
    members: Any = Member._default_manager
    ada = members.create(email="ada@example.com")
    for sees_members in (True, False):
        viewer = members.create(email=f"{sees_members}@example.com")
        viewer.sees_members = sees_members
        viewer.save()
        client = Client()
        client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
        manager = RecoveryManager(secret=secrets.token_bytes(32), storage=MemoryStorage())
        with manager, override_manager(manager):
            save_for(manager, ada, "mine")
            name = "ada@example.com" if sees_members else manager.digests_of_user(ada)[0][:8]
            assert f"mine {name}" in text_of(client.get(LIST))
            assert name in text_of(client.get(detail_of("mine")))
            for who in ("ada@example.com", str(ada.pk), ada.pk.hex):
                assert (ids_of(client.get(LIST, {"user": who})) == ["mine"]) is sees_members, who
            address = f"{LIST}revoke-user/"
            done: Any = client.post(address, {"pk": ada.pk.hex, **CONFIRMED}, follow=True)
            assert "Revoked all pages of user" in text_of(done)
            entry = LogEntry.objects.latest("pk")
            assert (entry.object_id, entry.get_edited_object()) == (str(ada.pk), ada)
            call_command("revoke_recovery", user="ada@example.com")
            digests = manager.digests_of_user(ada)
            for written in (ada.pk, str(ada.pk), ada.pk.hex, str(ada.pk).upper()):
                assert manager.digests_of_user(written) == digests, written
            for other in ("7", "ada@example.com"):
                with contextlib.suppress(ValueError):
                    manager.revoke_user(other)
                    raise AssertionError(other)


if __name__ == "__main__":
    from tests import settings as ours

    settings.configure(
        **{
            **{name: getattr(ours, name) for name in dir(ours) if name.isupper()},
            "INSTALLED_APPS": [*ours.INSTALLED_APPS, "tests.support.members"],
            "AUTH_USER_MODEL": "members.Member",
            "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            "DATABASE_ROUTERS": [],
            "ROOT_URLCONF": "tests.admin.urls",
        }
    )
    django.setup()
    main()
