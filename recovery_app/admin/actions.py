"""Changes made from the admin: to snapshots and to groups, each with a log entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.user_keys import user_model
from recovery_app._users import NamedUser
from recovery_app.admin import formatting, group_pages
from recovery_app.admin.error_messages import collect_errors
from recovery_app.admin.listing import find_by_hash
from recovery_app.models import Snapshot, StoredGroup

BATCH_SIZE = 2000
MAX_REPR_LENGTH = 200


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


def revoke_user(manager: RecoveryManager, user: NamedUser, *, by: Any) -> list[str]:
    """Revoke all pages of a user, and log it; return error messages."""
    errors: list[str] = []
    with collect_errors(errors):
        manager.revoke_user(user.pk)
        # In the history of the user, which outlives all snapshots.
        LogEntry.objects.create(
            user_id=by.pk,
            content_type=ContentType.objects.get_for_model(user_model(), for_concrete_model=False),
            object_id=user.pk,
            object_repr=(user.name or user.pk)[:MAX_REPR_LENGTH],
            action_flag=CHANGE,
            change_message=_("Revoked all live pages."),
        )
    return errors


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


def delete_group(manager: RecoveryManager, name: str, *, user: Any) -> ActionResult:
    """Remove a group's log, and note that; say if there was none."""
    result = ActionResult()
    with collect_errors(result.errors):
        if manager.driver.run(group_pages.delete(name)):
            result.changed = 1
        else:
            result.missing = 1
    if result.changed:
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(StoredGroup),
            object_id=name,
            object_repr=name[:MAX_REPR_LENGTH],
            action_flag=DELETION,
            change_message=_("Deleted all messages."),
        )
    return result


def revoked_message(count: int) -> str:
    """Return how many snapshots were revoked, as a sentence."""
    text = ngettext("Revoked %(number)s snapshot.", "Revoked %(number)s snapshots.", count)
    return text % {"number": formatting.number(count)}


def user_revoked_message(user: NamedUser, within: str) -> str:
    """Return that all pages of a user were revoked, as sentences."""
    text = _("Revoked all pages of user %(name)s. Those that are open are closed within %(time)s.")
    return text % {"name": user.name or user.pk, "time": within}


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
