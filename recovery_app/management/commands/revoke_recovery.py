"""The command ``manage.py revoke_recovery``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError, CommandParser

from recovery_app import RecoveryManager
from recovery_app._core.inspection import hashes_meant
from recovery_app._users import NamedUser, SeveralUsers, find_user, user_with_pk
from recovery_app.exceptions import StorageError
from recovery_app.management.reports import ReportingCommand
from recovery_app.middleware import current_manager

_NOT_SHARED = (
    "{storage} is limited to one process, so this command can't reach the pages that other "
    "processes serve. Revoke in those: in the admin, or in code with the manager's methods."
)
_DELETED = "No user has the primary key {pk} now."


@dataclass(kw_only=True)
class Report:
    """The result of the command: who or what was revoked, and when open pages are closed."""

    storage: str
    closes_within_seconds: float
    user_pk: str | None = None
    username: str | None = None
    socket_hash: str | None = None
    revoked: bool = False
    note: str = ""
    error: str = ""


class Command(ReportingCommand):
    """A command that revokes all pages of a user, or the page of one socket."""

    help = (
        "Ends all pages of a user, or the page of one socket: no token issued so far recovers "
        "a state, and pages that are open are closed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument(
            "--user", metavar="NAME", help="The name of a user, or else a primary key."
        )
        target.add_argument(
            "--user-pk", metavar="PK", help="The primary key of a user, who may have been deleted."
        )
        target.add_argument(
            "--socket", metavar="ID", help="A socket id, or a socket hash from the log."
        )
        super().add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command; exit with 1 after an error."""
        manager = current_manager()
        report = Report(
            storage=type(manager.storage).__name__, closes_within_seconds=manager.touch_interval
        )
        failure: Exception | None = None
        try:
            if options["socket"] is not None:
                _revoke_socket(manager, options["socket"], report)
            else:
                _revoke_user(manager, _user_of(options), report)
            if not manager.storage.is_shared:
                _add_note(report, _NOT_SHARED.format(storage=report.storage))
        except (StorageError, CommandError) as error:
            failure = error
        self.finish(report, options, failure)

    def print_report(self, report: Report) -> None:
        """Print a report as sentences."""
        if not report.revoked:
            return
        within = f"within {report.closes_within_seconds:g} seconds"
        if report.note:
            self.stdout.write(report.note)
        if report.user_pk is None:
            self.stdout.write(
                f"Revoked socket {report.socket_hash}: its state is deleted, and no token issued "
                f"so far recovers it. If its page is open, it is closed {within}."
            )
        else:
            name = f"{report.username} (primary key {report.user_pk})"
            self.stdout.write(
                f"Revoked all pages of user {name if report.username else report.user_pk}: no "
                "token issued to them so far recovers a state. Each open page is closed "
                f"{within}. If they can still log in, they get fresh pages."
            )


def _user_of(options: dict[str, Any]) -> NamedUser:
    text = options["user_pk"] if options["user"] is None else options["user"]
    if options["user"] is None:
        user = user_with_pk(text)
        if user is None:
            raise CommandError(f"{text!r} can't be the primary key of a user.")
        return user
    try:
        user = find_user(text)
    except SeveralUsers as error:
        raise CommandError(f"Several users have the name {text!r}. Use --user-pk.") from error
    if user is None:
        raise CommandError(
            f"No user has the name or the primary key {text!r}. For a user who was deleted, use "
            "--user-pk."
        )
    return user


def _revoke_user(manager: RecoveryManager, user: NamedUser, report: Report) -> None:
    report.user_pk, report.username = user.pk, user.name or None
    if not user.name:
        _add_note(report, _DELETED.format(pk=user.pk))
    manager.revoke_user(user.pk)
    report.revoked = True


def _revoke_socket(manager: RecoveryManager, text: str, report: Report) -> None:
    try:
        hashes = hashes_meant(text)
    except ValueError as error:
        raise CommandError(f"{text!r} can't be a socket id.") from error
    for socket_hash in hashes:
        if manager.revoke_socket(socket_hash):
            report.socket_hash, report.revoked = socket_hash, True
            return
    raise CommandError(
        "There is nothing to revoke: no socket with this id or hash has a snapshot. It has "
        "expired, or was removed or revoked before."
    )


def _add_note(report: Report, note: str) -> None:
    report.note = f"{report.note} {note}".strip()
