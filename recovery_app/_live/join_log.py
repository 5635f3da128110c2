"""One line in the log for each join: what came of it, for whom, and why."""

from __future__ import annotations

import logging
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from recovery_app._core.diagnosis import UNKNOWN, failed_part
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._core.tokens import key_of
from recovery_app._live.interfaces import Admission
from recovery_app._live.outcomes import Outcome
from recovery_app._live.session import Session
from recovery_app.exceptions import RecoveryError, TokenError

logger = logging.getLogger("recovery_app")

NODE = socket.gethostname()
LOST = ("not_found", "version", "failed")
"""Outcomes of pages that should have a state and have none. Not those that a client can forge."""
_LOOK = wrap_unexpected_errors("load")


def log_join(
    session: Session, admission: Admission, *, token: object, topic: str, who: str
) -> Coroutine[Any, Any, None] | None:
    """Log what came of a join. ``token`` is what the client showed.

    For a rejected token it takes a look at the storage: then what is returned is to be awaited.
    """
    if not logger.isEnabledFor(logging.WARNING if session.outcome in LOST else logging.INFO):
        return None
    if session.outcome is Outcome.REJECTED:
        return _log_rejected(session, admission, token=token, topic=topic, who=who)
    is_copy = session.outcome is Outcome.COPIED
    shown_hash = key_of(token) if is_copy else session.failure.socket_hash  # type: ignore[arg-type]
    _log(session, admission, shown_hash=shown_hash, topic=topic, who=who)
    return None


async def _log_rejected(
    session: Session, admission: Admission, *, token: object, topic: str, who: str
) -> None:
    part, shown_hash = await _failed_part(session, admission, token), session.failure.socket_hash
    with suppress(TokenError):
        # Nothing proves it, but it is what to search for.
        shown_hash = shown_hash or key_of(token)  # type: ignore[arg-type]
    del token
    _log(session, admission, shown_hash=shown_hash, topic=topic, who=who, part=part)


def _log(
    session: Session,
    admission: Admission,
    *,
    shown_hash: str | None,
    topic: str,
    who: str,
    part: str = "",
) -> None:
    unsaved = session.unsaved_seconds
    facts = {
        "outcome": session.outcome.value,
        "reason": session.failure.reason,
        "part": part,
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
    """Return the facts for people and for grep; what a client chooses is quoted."""
    quoted = {name: repr(facts[name]) for name in ("topic", "view")}
    return " ".join(
        f"{name}={value}" for name, value in {**facts, **quoted}.items() if value not in (None, "")
    )


def _named(event: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"event": event, **facts}
