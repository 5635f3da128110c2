"""The journal entries about a page's losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recovery_app._core.error_texts import describe_error
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.tokens import issued_us_of
from recovery_app._live.interfaces import Application
from recovery_app._live.outcomes import Outcome
from recovery_app.clock import MICROSECONDS, to_us
from recovery_app.exceptions import RecoveryError, TokenError
from recovery_app.storages.browsing import person_in

if TYPE_CHECKING:
    from recovery_app._live.durable_state import DurableState
    from recovery_app._live.session import Session

RECOVERED = (Outcome.NEW, Outcome.RECOVERED)
"""Outcomes that are no incidents."""


def note(state: DurableState, kind: str, reason: str, **facts: Any) -> None:
    """Record in the journal what happened to a topic's state."""
    journal = state.manager.journal
    if journal.is_on:
        facts.setdefault("socket_hash", state.socket_hash or "")
        journal.note(
            kind, reason, person=person_in(state.person.digest), **_names_of(state), **facts
        )


def admit_join(session: Session, *, shown_hash: str | None) -> int | None:
    """Return what `Journal.admit` returns for the outcome of a join; ``None`` if it is no loss."""
    if session.outcome in RECOVERED or not session.shows_token:
        return None
    person = person_in(session.person.digest)
    reason = session.outcome.value
    return session.manager.journal.admit(_kind_of(session), reason, shown_hash or "", person=person)


def record_join(
    session: Session,
    *,
    left_out: int,
    token: object,
    part: str,
    shown_hash: str | None,
    cause: str,
) -> None:
    """Record a join that `admit_join` has admitted."""
    issued = _issued_us(token)
    del token
    session.manager.journal.record(
        kind=_kind_of(session),
        reason=session.outcome.value,
        part=part,
        cause=cause,
        person=person_in(session.person.digest),
        shown_hash=shown_hash or "",
        socket_hash=session.socket_hash or "",
        token_seconds=_seconds_since(issued, session.manager),
        left_out=left_out,
        **_names_of(session),
    )


def note_crashed_join(
    manager: RecoveryManager, application: Application, topic: str, error: Exception
) -> None:
    """Record a join that ended with an error, before there was a session."""
    if not manager.journal.is_on:
        return
    user, log_name = _user_of(application)
    digest = manager.operations.person(user, user).digest if user else b""
    manager.journal.note(
        "recovery",
        "join_crashed",
        cause=describe_error(error),
        person=digest.hex(),
        user=log_name,
        topic=topic,
    )


def note_fork(state: DurableState, error: RecoveryError, socket_hash: str | None) -> None:
    """Record that a page continues with a copy of another page's state."""
    note(state, "fork", error.reason, shown_hash=socket_hash or "")


def note_unsaved(state: DurableState) -> None:
    """Record that a connection ends before its last state is stored."""
    error = state.unsaved_error
    reason, cause = error or ("unsaved", "")
    note(state, "unsaved", reason, cause=cause)


def _names_of(state: DurableState) -> dict[str, str]:
    view, topic = state.names
    return {"view": view, "topic": topic, "user": state.log_name}


def _user_of(application: Application) -> tuple[bytes | None, str]:
    # Whatever made the join crash may do so again, and the client is still to be told.
    try:
        return application.user, application.log_name
    except Exception:
        return None, ""


def _kind_of(session: Session) -> str:
    return "fork" if session.outcome is Outcome.COPIED else "recovery"


def _issued_us(token: object) -> int | None:
    try:
        return issued_us_of(token)  # type: ignore[arg-type]
    except TokenError:
        return None


def _seconds_since(issued_us: int | None, manager: RecoveryManager) -> float | None:
    """Return the age of a token in seconds; ``None`` for an impossible date."""
    now_us = to_us(manager.clock())
    if issued_us is None or not 0 < issued_us <= now_us:
        return None
    return round((now_us - issued_us) / MICROSECONDS, 1)
