"""Own what the page changes: snapshots revoked, expired ones removed, each put on record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import formatting as words
from recovery_app.admin.error_messages import told_to
from recovery_app.admin.listing import find_by_hash
from recovery_app.models import Snapshot

BATCH = 2000
"""How many expired snapshots are removed in one step, about."""


@dataclass(slots=True, kw_only=True)
class Done:
    """What came of a change: how many, of how many, and what went wrong."""

    changed: int = 0
    absent: int = 0
    troubles: list[str] = field(default_factory=list)


def revoke(manager: RecoveryManager, keys: Iterable[str], *, user: Any) -> Done:
    """Revoke each socket until the storage fails, and log those that are."""
    done = Done()
    snapshots = []
    with told_to(done.troubles):
        for key in keys:
            info = find_by_hash(manager, key)
            if info is not None and manager.revoke_socket(key):
                snapshots.append(Snapshot(key=key, socket_id=info.socket_id))
            else:
                done.absent += 1
    done.changed = len(snapshots)
    if snapshots:
        LogEntry.objects.log_actions(
            user_id=user.pk,
            queryset=snapshots,
            action_flag=DELETION,
            change_message=_("Revoked."),
        )
    return done


def clean_up(manager: RecoveryManager, *, user: Any) -> Done:
    """Remove what has expired until the storage fails, and log how many that were."""
    done = Done()
    with told_to(done.troubles):
        for removed_now in manager.storage.cleanup_batches(BATCH):
            done.changed += removed_now
    if done.changed or not done.troubles:
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(Snapshot, for_concrete_model=False),
            object_repr=_("Expired snapshots"),
            action_flag=DELETION,
            change_message=removed(done.changed),
        )
    return done


def revoked(count: int) -> str:
    """Say how many were revoked."""
    text = ngettext("Revoked %(number)s snapshot.", "Revoked %(number)s snapshots.", count)
    return text % {"number": words.number(count)}


def gone(count: int) -> str:
    """Say how many weren't there any more."""
    text = ngettext("%(number)s was gone already.", "%(number)s were gone already.", count)
    return text % {"number": words.number(count)}


def removed(count: int) -> str:
    """Say how many were removed."""
    text = ngettext(
        "Removed %(number)s expired snapshot.", "Removed %(number)s expired snapshots.", count
    )
    return text % {"number": words.number(count)}
