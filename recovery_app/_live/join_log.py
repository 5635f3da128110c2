"""The line in the log for each join, with the outcome, the person and the reason.

Joins that lost a state also get a journal entry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from recovery_app._core.diagnosis import UNKNOWN, failed_part
from recovery_app._core.journal import NODE
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._core.tokens import key_of
from recovery_app._live.incidents import admit_join, record_join
from recovery_app._live.interfaces import Admission
from recovery_app._live.outcomes import Outcome
from recovery_app._live.session import Session
from recovery_app.exceptions import RecoveryError, TokenError

logger = logging.getLogger("recovery_app")

LOST = ("not_found", "version", "failed")
"""Outcomes of pages that should have a state and have none. Not those that a client can forge."""
_LOOK = wrap_unexpected_errors("load")


def log_join(
    session: Session, admission: Admission, *, token: object, topic: str, who: str
) -> Coroutine[Any, Any, None] | None:
    """Log the outcome of a join. ``token`` is the client's token.

    For a rejected token or a lost snapshot, the storage is queried: then the returned object has
    to be awaited.
    """
    is_logged = logger.isEnabledFor(logging.WARNING if session.outcome in LOST else logging.INFO)
    shown_hash = _shown_hash(session, token)
    left_out = admit_join(session, shown_hash=shown_hash)
    if not is_logged and left_out is None:
        return None

    def tell(part: str = "", cause: str = session.failure.cause) -> None:
        if is_logged:
            _log(
                session,
                admission,
                shown_hash=shown_hash,
                topic=topic,
                who=who,
                part=part,
                cause=cause,
            )
        if left_out is not None:
            record_join(
                session,
                left_out=left_out,
                token=token,
                part=part,
                shown_hash=shown_hash,
                cause=cause,
            )

    if session.outcome is Outcome.REJECTED:
        return _tell_rejected(session, admission, token, tell)
    if session.outcome is Outcome.NOT_FOUND:
        return _tell_lost(session, tell)
    tell()
    return None


async def _tell_rejected(
    session: Session, admission: Admission, token: object, tell: Callable[[str], None]
) -> None:
    tell(await _failed_part(session, admission, token))


async def _tell_lost(session: Session, tell: Callable[..., None]) -> None:
    tell(cause=await session.manager.losses.explain())


def _shown_hash(session: Session, token: object) -> str | None:
    if session.outcome is Outcome.REJECTED and session.failure.socket_hash is None:
        with suppress(TokenError):
            # Nothing proves it, but it is what to search for.
            return key_of(token)  # type: ignore[arg-type]
    if session.outcome is Outcome.COPIED:
        return key_of(token)  # type: ignore[arg-type]
    return session.failure.socket_hash


def _log(
    session: Session,
    admission: Admission,
    *,
    shown_hash: str | None,
    topic: str,
    who: str,
    part: str,
    cause: str,
) -> None:
    unsaved = session.unsaved_seconds
    facts = {
        "outcome": session.outcome.value,
        "reason": session.failure.reason,
        "part": part,
        "cause": cause,
        "shown_hash": shown_hash,
        "socket_hash": session.socket_hash,
        "topic": topic,
        "view": admission.view,
        "node": NODE,
        "unsaved_seconds": None if unsaved is None else round(unsaved, 1),
        "who": who,
    }
    told = _told(facts)
    if session.outcome in LOST:
        logger.warning("A page came back empty: %s", told, extra=_named("state_lost", facts))
    else:
        logger.info("A page joined: %s", told, extra=_named("joined", facts))


async def _failed_part(session: Session, admission: Admission, token: object) -> str:
    if admission.refusal is not None:
        return "person"
    if session.failure.reason == "superseded":
        return "revoked"
    flow = failed_part(token, binding=admission.binding, view=admission.view, person=session.person)
    del token
    with suppress(RecoveryError), _LOOK:
        return await session.manager.driver.arun(flow)
    return UNKNOWN


def _told(facts: dict[str, Any]) -> str:
    """Return the facts for people and for grep; texts, which a client may choose, are quoted."""
    shown = {name: value for name, value in facts.items() if value not in (None, "")}
    for name in ("cause", "topic", "view"):
        if name in shown or name != "cause":
            shown[name] = repr(facts[name])
    return " ".join(f"{name}={value}" for name, value in shown.items())


def _named(event: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"event": event, **facts}
