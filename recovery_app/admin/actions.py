"""Changes made from the admin: revoking and removing snapshots, each with a log entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import formatting
from recovery_app.admin.error_messages import collect_errors
from recovery_app.admin.listing import find_by_hash
from recovery_app.models import Snapshot

BATCH_SIZE = 2000


@dataclass(slots=True, kw_only=True)
class ActionResult:
    """The result of a change: how many snapshots changed or were missing, and error messages."""

    changed: int = 0
    missing: int = 0
    errors: list[str] = field(default_factory=list)


def revoke(manager: RecoveryManager, keys: Iterable[str], *, user: Any) -> ActionResult:
    """Revoke each socket, and log it; stop when the storage fails."""
    result = ActionResult()
    snapshots = []
    with collect_errors(result.errors):
        for key in keys:
            info = find_by_hash(manager, key)
            if info is not None and manager.revoke_socket(key):
                snapshots.append(Snapshot(key=key, socket_id=info.socket_id))
            else:
                result.missing += 1
    result.changed = len(snapshots)
    if snapshots:
        LogEntry.objects.log_actions(
            user_id=user.pk,
            queryset=snapshots,
            action_flag=DELETION,
            change_message=_("Revoked."),
        )
    return result


def clean_up(manager: RecoveryManager, *, user: Any) -> ActionResult:
    """Remove expired snapshots, and log their number; stop when the storage fails."""
    result = ActionResult()
    with collect_errors(result.errors):
        for removed in manager.storage.cleanup_batches(BATCH_SIZE):
            result.changed += removed
    if result.changed or not result.errors:
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(Snapshot, for_concrete_model=False),
            object_repr=_("Expired snapshots"),
            action_flag=DELETION,
            change_message=removed_message(result.changed),
        )
    return result


def revoked_message(count: int) -> str:
    """Return how many snapshots were revoked, as a sentence."""
    text = ngettext("Revoked %(number)s snapshot.", "Revoked %(number)s snapshots.", count)
    return text % {"number": formatting.number(count)}


def missing_message(count: int) -> str:
    """Return how many snapshots no longer existed, as a sentence."""
    text = ngettext(
        "%(number)s snapshot no longer existed.", "%(number)s snapshots no longer existed.", count
    )
    return text % {"number": formatting.number(count)}


def removed_message(count: int) -> str:
    """Return how many expired snapshots were removed, as a sentence."""
    text = ngettext(
        "Removed %(number)s expired snapshot.", "Removed %(number)s expired snapshots.", count
    )
    return text % {"number": formatting.number(count)}
