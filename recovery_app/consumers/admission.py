"""Who may join a topic, and with which identity: for joins and for a page's first state."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any

from recovery_app._core.error_texts import describe_error
from recovery_app._core.metadata import check_name
from recovery_app._core.persons import combine
from recovery_app._core.telemetry import log_failure
from recovery_app._live.interfaces import Admission, Params
from recovery_app._live.outcomes import RestoreFailed
from recovery_app._logins import login_session, refuse_login
from recovery_app.consumers.hooks import HookTable
from recovery_app.consumers.identity import (
    FormerPerson,
    bind_to_person,
    bind_to_view,
    former_persons,
    identify_client,
    name_person,
    person_of,
    try_load_session,
    user_of,
)
from recovery_app.exceptions import JoinRefused, RecoveryError

if TYPE_CHECKING:
    from recovery_app.consumers.mixins import RecoveryMixin

_IDENTIFYING = ("get_recovery_view", "get_recovery_binding")


def is_topic_of(patterns: Iterable[str], topic: str) -> bool:
    """Return whether ``recovery_topics`` matches a topic."""
    try:
        check_name("topic", topic)
    except ValueError:
        return False
    return topic == "" or any(
        topic.startswith(pattern[:-1]) if pattern.endswith("*") else topic == pattern
        for pattern in patterns
    )


class AdmissionCheck:
    """Asks a consumer's hooks and scope who a client is and what it may do.

    ``route`` is the part of bindings that `bind_to_route` returns.
    """

    __slots__ = ("_consumer", "_hooks", "_route", "_topic")

    def __init__(
        self, consumer: RecoveryMixin, hooks: HookTable, *, topic: str, route: bytes
    ) -> None:
        self._consumer = consumer
        self._hooks = hooks
        self._topic = topic
        self._route = route

    async def admit(self, params: Params, *, shows_token: bool) -> Admission:
        """Return the terms on which a client joins; raise `JoinRefused` to refuse it."""
        own = self._hooks.own
        if "authorize_join" in own:
            await self._call("authorize_join", self._topic, params)
        view, binding, person = self.identify_at_once() or await self.identify()
        scope = self._consumer.scope
        # A page knows nothing of the application's own names for persons.
        aliases = [identify_client(scope)] if "get_recovery_binding" in own else []
        may_recover, refusal = shows_token, None
        if shows_token and "should_recover" in own:
            may_recover, refusal = await self._ask_whether_to_recover(params)
        if not may_recover:
            return Admission(view, binding, False, person, user_of(scope), aliases=aliases)
        session = login_session(scope)
        if refusal is None and session is not None:
            refusal = await refuse_login(session, scope["user"])
        refusal = refusal or await try_load_session(scope)
        former = former_persons(scope, keep_on_login=self._consumer.recovery_keep_on_login)
        if "get_recovery_binding" in own:
            former = await self._bind_to_former(former)
        return Admission(
            view,
            binding,
            True,
            person,
            user_of(scope),
            fallback_bindings=[self._binding(view, each.part) for each in former],
            fallback_names=[each.name for each in former],
            aliases=aliases,
            refusal=refusal,
        )

    async def _ask_whether_to_recover(self, params: Params) -> tuple[bool, RecoveryError | None]:
        """Return what ``should_recover`` says, or the error of a recovery in which it raised."""
        try:
            return bool(await self._call("should_recover", self._topic, params)), None
        except JoinRefused:
            raise
        except Exception as error:
            log_failure(
                "A state couldn't be restored.",
                error,
                type(self._consumer).__qualname__,
                extra={"event": "restore_failed", "topic": self._topic},
            )
            return True, RestoreFailed(describe_error(error))

    def identify_at_once(self) -> tuple[str, bytes, bytes] | None:
        """Return what `identify` returns, if that needs neither a hook nor the session."""
        if not self._hooks.own.isdisjoint(_IDENTIFYING):
            return None
        scope = self._consumer.scope
        person = person_of(scope)
        if person is None:
            return None
        return self._topic, self._binding(self._topic, person), name_person(scope, person)

    async def identify(self) -> tuple[str, bytes, bytes]:
        """Return the view and the binding of a token, and the person."""
        view = self._topic
        if "get_recovery_view" in self._hooks.own:
            view = str(await self._call("get_recovery_view", view))
        if "get_recovery_binding" in self._hooks.own:
            person = await self._call_for_binding()
        else:
            person = await bind_to_person(self._consumer.scope)
        return view, self._binding(view, person), name_person(self._consumer.scope, person)

    async def _bind_to_former(self, former: list[FormerPerson]) -> list[FormerPerson]:
        """Return the bindings of earlier identities, as the application's own hook makes them."""
        if not self._consumer._recovery_default_used:
            return []
        parts = [await self._call_for_binding(each.part) for each in former]
        return [
            FormerPerson(own, each.name and own) for own, each in zip(parts, former, strict=True)
        ]

    async def _call_for_binding(self, person: bytes | None = None) -> bytes:
        """Return what the application's own hook returns if ``person`` is the default."""
        self._consumer._recovery_person = person
        try:
            return combine("own", await self._call("get_recovery_binding") or b"")
        finally:
            self._consumer._recovery_person = None

    def _binding(self, view: str, person: bytes) -> bytes:
        kind: type = type(self._consumer)
        return bind_to_view(kind, view) + self._route + combine(person)

    def _call(self, name: str, *arguments: object) -> Awaitable[Any]:
        return self._hooks.call(self._consumer, name, *arguments)
