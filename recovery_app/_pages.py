"""States that a view stores for the first join of the page that it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest

from recovery_app._core.driver import Flow
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.metadata import metadata_of
from recovery_app._core.rebinding import bind_to_first_join
from recovery_app._core.telemetry import log_failure, wrap_unexpected_errors
from recovery_app._core.tokens import Grant
from recovery_app._live.groups import MAX_GROUPS
from recovery_app._live.protocol import to_json
from recovery_app._live.sections import GROUPS, pack_section
from recovery_app._live.sockets import Socket
from recovery_app._visitors import SCOPE_KEY, PageVisitor, visitor_of
from recovery_app.consumers.admission import AdmissionCheck, is_topic_of
from recovery_app.consumers.identity import bind_to_route, user_of
from recovery_app.consumers.mixins import RecoveryMixin
from recovery_app.exceptions import SnapshotError, StorageError

State = Mapping[str, Any]
Places = Mapping[str, str] | tuple[()] | None
"""What `recovery_app.groups.positions` returns; empty for no groups."""
_NO_MIDDLEWARE = (
    "start_state() needs recovery_app.middleware.RecoveryMiddleware, which sets the cookie of "
    "visitors and keeps the page out of caches: add it to MIDDLEWARE."
)
_SAVE = wrap_unexpected_errors("save", expected=SynchronousOnlyOperation)


def start_state(
    request: HttpRequest,
    consumer_class: type[RecoveryMixin],
    topic: str,
    state: State,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    groups: Places = (),
) -> str | None:
    """Store the state that a page starts with, so that its first join recovers it.

    ``{% recovery_state %}`` passes the token to the page; it is also returned. ``args`` and
    ``kwargs`` are those of the route to which the page's WebSocket connects. ``groups`` is what
    `recovery_app.groups.positions` returned before the state was loaded: the page is in these
    durable groups from that position on. Return ``None`` if the state can't be stored: the
    page's first join then mounts as usual. Raise `ValueError` for a topic or a field that the
    consumer doesn't have, `ImproperlyConfigured` without `RecoveryMiddleware`, and
    `RuntimeError` if the response has already been returned.
    """
    start = _Start(request, consumer_class, topic, state, args=args, kwargs=kwargs, groups=groups)
    start.set_user(getattr(request, "user", None))
    identity = start.check.identify_at_once() or async_to_sync(start.check.identify)()
    try:
        with _SAVE:
            start.manager.driver.run(start.save(identity), "recovery.save")
    except (StorageError, SnapshotError) as error:
        start.note_failure(error)
    return start.finish()


async def astart_state(
    request: HttpRequest,
    consumer_class: type[RecoveryMixin],
    topic: str,
    state: State,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    groups: Places = (),
) -> str | None:
    """Async variant of `start_state`."""
    start = _Start(request, consumer_class, topic, state, args=args, kwargs=kwargs, groups=groups)
    start.set_user(await request.auser() if hasattr(request, "auser") else None)
    identity = start.check.identify_at_once() or await start.check.identify()
    try:
        with _SAVE:
            await start.manager.driver.arun(start.save(identity), "recovery.save")
    except (StorageError, SnapshotError) as error:
        start.note_failure(error)
    return start.finish()


class _Start:
    """One state to store for a page, and the consumer that will recover it."""

    def __init__(
        self,
        request: HttpRequest,
        kind: type[RecoveryMixin],
        topic: str,
        state: State,
        *,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        groups: Places,
    ) -> None:
        visitor = visitor_of(request)
        if visitor is None:
            raise ImproperlyConfigured(_NO_MIDDLEWARE)
        visitor.hold_back_from_caches()
        self.manager: RecoveryManager = request.recovery  # type: ignore[attr-defined]
        self._visitor: PageVisitor = visitor
        self._topic = topic
        self._state = state
        self._groups = groups
        self._grant: Grant | None = None
        hooks = kind._current_hooks()
        self._consumer = kind()
        self._scope = _scope_of(request, args, kwargs or {})
        self._consumer.scope = cast("Any", self._scope)
        _check_groups(groups)
        _check(kind, topic, state, restores_fields="restore_state" not in hooks.own)
        route = bind_to_route(self._scope)
        self.check = AdmissionCheck(self._consumer, hooks, topic=topic, route=route)

    def set_user(self, user: Any) -> None:
        """Record the user; for anybody else, have the page set the cookie of visitors."""
        if user is not None and user.is_authenticated:
            self._scope["user"] = user
        self._scope[SCOPE_KEY] = self._visitor.require()

    def save(self, identity: tuple[str, bytes, bytes]) -> Flow[None]:
        """Store the state as the first of a socket, under a token for the first join."""
        if self._groups is None:
            return
        operations = self.manager.operations
        view, binding, name = identity
        person = operations.person(name, user_of(self._scope))
        metadata = metadata_of(self._consumer.recovery_version, view, self._topic, person.digest)
        payload = self.manager.codec.encode(self._state)
        socket_id, grant = Socket.begin(operations, bind_to_first_join(binding))
        groups = pack_section(GROUPS, to_json(self._groups) if self._groups else b"")
        yield from operations.save_payload(
            grant, payload, socket_id=socket_id, metadata=metadata, replies=groups
        )
        self._grant = grant

    def note_failure(self, error: StorageError | SnapshotError) -> None:
        """Log that the page starts without its state; an outage has its own warning."""
        if isinstance(error, SnapshotError):
            log_failure(
                "A page's first state can't be stored.",
                error,
                type(self._consumer).__qualname__,
                extra={"event": "mount_unsaved", "topic": self._topic},
            )

    def finish(self) -> str | None:
        """Pass the token to the page and return it; ``None`` if nothing was stored."""
        if self._grant is None:
            return None
        self._visitor.states[self._topic] = self._grant.token
        return self._grant.token


def _scope_of(
    request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the person and the route as the scope of the page's WebSocket will have them."""
    return {
        "type": "websocket",
        "path": "",
        "headers": [],
        "query_string": b"",
        "cookies": request.COOKIES,
        "session": getattr(request, "session", None),
        "url_route": {"args": tuple(args), "kwargs": dict(kwargs)},
    }


def _check(kind: type[RecoveryMixin], topic: str, state: State, *, restores_fields: bool) -> None:
    """Raise `ValueError` for a state that no join of the page could recover."""
    if not is_topic_of(kind.recovery_topics, topic):
        raise ValueError(f"{kind.__qualname__}.recovery_topics has no topic {topic!r}.")
    unknown = sorted(set(state) - set(kind.recovery_fields)) if restores_fields else []
    if unknown:
        raise ValueError(
            f"The state has the key {unknown[0]!r}, which isn't in "
            f"{kind.__qualname__}.recovery_fields."
        )


def _check_groups(groups: object) -> None:
    """Raise `TypeError` for groups without positions: positions read now could be too late."""
    if groups is not None and groups != () and not isinstance(groups, Mapping):
        raise TypeError(
            "groups must be the result of recovery_app.groups.positions(), called before the state "
            "was loaded."
        )
    if len(groups or ()) > MAX_GROUPS:
        raise ValueError(f"A topic can be in at most {MAX_GROUPS} durable groups.")
