"""A join: authorization, then recovery or a fresh mount."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from recovery_app._core.error_texts import describe_error
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.metadata import metadata_of
from recovery_app._core.spans import Tracer, tracing
from recovery_app._core.telemetry import log_failure
from recovery_app._live.exchange import Exchange
from recovery_app._live.incidents import note
from recovery_app._live.interfaces import Admission, Application, Extras
from recovery_app._live.join_log import log_join
from recovery_app._live.numbering import LINE, RECOVERY
from recovery_app._live.outcomes import RestoreFailed
from recovery_app._live.protocol import Message, to_json
from recovery_app._live.pushes import RECEIVED, PushLog, as_received
from recovery_app._live.session import Session
from recovery_app.exceptions import JoinRefused, SnapshotError
from recovery_app.signals import observers

_OWN_KEYS = (RECOVERY, LINE, RECEIVED)
Joined: TypeAlias = "tuple[Session, dict[str, Any]]"


class Join:
    """Carries out one join; a failed recovery never fails it."""

    def __init__(
        self,
        application: Application,
        message: Message,
        *,
        manager: RecoveryManager,
        announce: Callable[[str], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
        push: Callable[[str, bytes], Awaitable[None]],
        exchange: Exchange,
    ) -> None:
        self._application = application
        self._topic = message.topic
        payload = message.payload if isinstance(message.payload, dict) else {}
        self._token, self._params = _split_params(payload)
        self._has_line = LINE in payload
        self._exchange = exchange
        if RECEIVED in payload:
            exchange.pushes = PushLog(push, as_received(payload[RECEIVED]))
        self._manager = manager
        self._announce = announce
        self._close = close

    def carry_out(self) -> Coroutine[Any, Any, Joined]:
        """Return the session, and the response for the client.

        Raises `JoinRefused`, and any other error of ``mount`` or ``authorize_join``.
        """
        tracer = tracing.active()
        return self._carry_out() if tracer is None else self._carry_out_traced(tracer)

    async def _carry_out_traced(self, tracer: Tracer) -> Joined:
        with tracer.open("recovery.join") as span:
            span.set_attribute("recovery.topic", self._topic)
            session, response = await self._carry_out()
            span.set_attribute("recovery.outcome", session.outcome.value)
            return session, response

    async def _carry_out(self) -> Joined:
        shows_token = self._token is not None
        admission = await self._application.admit(self._params, shows_token=shows_token)
        session = self._make_session(admission, shows_token=shows_token)
        extras = await self._recover(session, admission) if admission.may_recover else None
        if extras is None:
            extras = await self._application.mount(self._params)
            # A reply that can't be sent must leave no snapshot behind.
            to_json(extras)
            self._exchange.commit()
            try:
                await session.start(await self._application.encode())
            except JoinRefused:
                raise
            except Exception as error:
                self._note_unsaved(session, error)
        observers.joined(session.outcome.value)
        self._manager.reporter.joined(session.outcome.value)
        if session.unsaved_seconds is not None:
            observers.was_away(session.unsaved_seconds)
        who = session.log_name
        looking = log_join(session, admission, token=self._token, topic=self._topic, who=who)
        if looking is not None:
            await looking
        return session, {**extras, RECOVERY: session.join_reply(tells_lines=self._has_line)}

    def _note_unsaved(self, session: Session, error: Exception) -> None:
        """Record that a fresh state can't be stored: the page works without a snapshot."""
        reason = error.reason if isinstance(error, SnapshotError) else "crashed"
        note(session, "unsaved", reason, cause=describe_error(error))
        log_failure(
            "A fresh state can't be stored.",
            error,
            self._application.source,
            extra=self._facts("mount_unsaved"),
        )

    def _make_session(self, admission: Admission, *, shows_token: bool) -> Session:
        """Return the session of an admitted join, without a state."""
        person = self._manager.operations.person(admission.person, admission.user)
        version = self._application.version
        session = Session(
            self._manager,
            binding=admission.binding,
            metadata=metadata_of(version, admission.view, self._topic, person.digest),
            announce=self._announce,
            close=self._close,
            person=person,
            exchange=self._exchange,
        )
        session.log_name = self._application.log_name
        session.shows_token = shows_token and admission.may_recover
        session.add_aliases(admission.aliases)
        return session

    async def _recover(self, session: Session, admission: Admission) -> Extras | None:
        """Return the reply's additional keys for a recovered state; ``None`` if there is none."""
        if admission.refusal is not None:
            await session.discard(admission.refusal)
            return None
        takeover = await session.take_over(self._token, admission.fallback_bindings)
        if session.matched_fallback is not None:
            session.add_aliases([admission.fallback_names[session.matched_fallback]])
        if takeover is None:
            return None
        try:
            takeover, extras, payload = await self._application.recover(takeover)
            to_json(extras)
        except JoinRefused:
            # The client's token may still take over: nothing was saved under the new one.
            raise
        except Exception as error:
            source, cause = self._application.source, describe_error(error)
            log_failure(
                "A state couldn't be restored.", error, source, extra=self._facts("restore_failed")
            )
            await session.discard(RestoreFailed(cause))
            self._application.reset()
            return None
        announcing = self._manager.notifier.arecovered(takeover)
        if announcing is not None:
            await announcing
        self._exchange.commit()
        await session.resume(payload)
        return extras

    def _facts(self, event: str) -> dict[str, str]:
        return {"event": event, "topic": self._topic}


def _split_params(payload: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    """Take the token out of a join's payload, or out of the page's params in it."""
    params = {key: value for key, value in payload.items() if key not in _OWN_KEYS}
    token = payload.get(RECOVERY)
    inner = params.get("params")
    if isinstance(inner, Mapping) and RECOVERY in inner:
        params["params"] = {key: value for key, value in inner.items() if key != RECOVERY}
        token = inner[RECOVERY] if token is None else token
    return token, params
