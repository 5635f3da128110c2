"""A page for the tests of consumers: it joins, pushes, drops its connection and comes back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from asgiref.testing import ApplicationCommunicator

from recovery_app._core.manager import RecoveryManager

DEFAULT_TIMEOUT = 10.0
NORMAL, ABNORMAL = 1000, 1006
_TOKEN_PUSHED = "recovery:token"


@dataclass(frozen=True, slots=True)
class Reply:
    """A consumer's reply to a join or an event."""

    status: str
    """``"ok"``, or ``"error"`` if the join was refused or the handler raised."""
    response: dict[str, Any]
    recovery: dict[str, Any] = field(repr=False)
    """The key ``_recovery`` of the response."""

    @property
    def outcome(self) -> str | None:
        """The outcome of a join, such as ``"recovered"``; ``None`` without recovery."""
        return self.recovery.get("outcome")

    @property
    def is_repeat(self) -> bool:
        """Whether the event had already been applied."""
        return bool(self.recovery.get("repeat"))


@dataclass(frozen=True, slots=True)
class Push:
    """An event that a consumer has pushed."""

    topic: str
    event: str
    payload: Any


class ConnectionClosed(Exception):
    """The consumer closed the connection or didn't accept it; ``code`` is the close code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The consumer closed the connection with code {code}.")
        self.code = code


def _new_line() -> str:
    return secrets.token_hex(4)


@dataclass(slots=True)
class _Topic:
    """What a page remembers of a topic from one connection to the next."""

    params: dict[str, Any]
    token: str | None = None
    line: str = field(default_factory=_new_line)
    join_ref: str = ""
    sent: int = 0
    answered: int = 0
    last: tuple[str, dict[str, Any]] | None = None


class RecoveryCommunicator:
    """A page whose WebSocket is connected to a consumer class or an ASGI application.

    ::

        async with RecoveryCommunicator(CounterConsumer) as page:
            await page.join("lv:counter")
            await page.push("add", {"n": 2})
            await page.drop()
            joined = await page.come_back()
        assert joined.outcome == "recovered"

    It keeps its tokens and numbers its events as ``recovery.js`` does. ``scope`` adds keys to the
    scope of the connection, such as ``user`` or ``url_route``. ``manager`` replaces the current
    one. ``timeout`` limits each wait, in seconds.
    """

    def __init__(
        self,
        application: Any,
        path: str = "/ws/",
        *,
        scope: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        manager: RecoveryManager | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        is_consumer = hasattr(application, "as_asgi")
        self.application = application.as_asgi() if is_consumer else application
        self.path = path
        self.timeout = timeout
        self._scope = {**(scope or {}), **({"recovery": manager} if manager else {})}
        self._headers = [
            (name.lower().encode(), value.encode()) for name, value in (headers or {}).items()
        ]
        # They are untyped.
        self._connection: Any = None
        self._forgotten: list[Any] = []
        self._topics: dict[str, _Topic] = {}
        self._pushed: deque[Push] = deque()
        self._last_ref = 0

    async def __aenter__(self) -> RecoveryCommunicator:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open a connection; raise `ConnectionClosed` if the consumer doesn't accept it."""
        path, _, query = self.path.partition("?")
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": self._headers,
            "subprotocols": [],
            **self._scope,
        }
        make_connection: Any = ApplicationCommunicator
        self._connection = make_connection(self.application, scope)
        await self._connection.send_input({"type": "websocket.connect"})
        await self._receive("websocket.accept")

    async def close(self) -> None:
        """Close the connection, as when the user leaves the page, and any dropped unnoticed."""
        await self.drop(code=NORMAL)
        while self._forgotten:
            await self._disconnect(self._forgotten.pop(), ABNORMAL)

    async def join(self, topic: str, params: Mapping[str, Any] | None = None) -> Reply:
        """Join a topic, with its token if there is one."""
        known = self._topics.setdefault(topic, _Topic({}))
        if params is not None:
            known.params = dict(params)
        shown = {} if known.token is None else {"_recovery": known.token}
        payload = {**known.params, **shown, "_line": known.line}
        known.join_ref = self._next_ref()
        await self._send(known.join_ref, topic, "phx_join", payload)
        reply = await self._reply(known.join_ref)
        known.token = reply.recovery.get("token") or known.token
        if reply.status == "ok":
            known.sent = known.answered = reply.recovery.get("seq", 0)
        if reply.outcome != "recovered":
            known.last, known.line = None, _new_line()
        return reply

    async def push(
        self, event: str, payload: Mapping[str, Any] | None = None, *, topic: str = ""
    ) -> Reply:
        """Push an event and return its reply. ``topic`` is by default the one joined last."""
        known = self._topics[topic or self._last_topic()]
        known.sent += 1
        numbers = {"_seq": known.sent, "_ack": known.answered, "_line": known.line}
        known.last = event, {**(payload or {}), **numbers}
        return await self.push_again(topic=topic)

    async def push_again(self, *, topic: str = "") -> Reply:
        """Send the last event once more, like a page that has lost the reply."""
        name = topic or self._last_topic()
        known = self._topics[name]
        if known.last is None:
            raise RuntimeError("Nothing was pushed yet.")
        ref = self._next_ref()
        await self._send(ref, name, *known.last)
        reply = await self._reply(ref)
        known.sent = known.answered = known.last[1]["_seq"]
        return reply

    async def next_push(self, event: str = "") -> Push:
        """Return the next event that the consumer pushes, optionally the next one with a name."""
        passed: list[Push] = []
        while True:
            push = self._pushed.popleft() if self._pushed else await self._next_push()
            if event in ("", push.event):
                self._pushed.extendleft(reversed(passed))
                return push
            passed.append(push)

    async def drop(self, *, code: int = ABNORMAL, unnoticed: bool = False) -> None:
        """Lose the connection. With ``unnoticed``, the consumer isn't told, and keeps running."""
        connection, self._connection = self._connection, None
        if connection is not None and unnoticed:
            self._forgotten.append(connection)
        elif connection is not None:
            await self._disconnect(connection, code)

    async def crash(self) -> None:
        """End the consumer at once and without notice, as when its process is killed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.future.cancel()
            with suppress(asyncio.CancelledError):
                await connection.future

    async def come_back(self) -> Reply:
        """Connect and join all topics again; return the reply of the one joined last."""
        await self.drop()
        await self.connect()
        for topic in tuple(self._topics):
            reply = await self.join(topic)
        return reply

    def token(self, topic: str = "") -> str | None:
        """Return the token that the page keeps for a topic."""
        return self._topics[topic or self._last_topic()].token

    # The wire.

    async def _disconnect(self, connection: Any, code: int) -> None:
        if not connection.future.done():
            await connection.send_input({"type": "websocket.disconnect", "code": code})
        await connection.wait(self.timeout)

    async def _send(self, ref: str, topic: str, event: str, payload: dict[str, Any]) -> None:
        frame = [self._topics[topic].join_ref, ref, topic, event, payload]
        text = json.dumps(frame)
        await self._connected().send_input({"type": "websocket.receive", "text": text})

    async def _reply(self, ref: str) -> Reply:
        while True:
            _, answered, topic, event, payload = await self._next_frame()
            if event == "phx_reply" and answered == ref:
                response = dict(payload["response"])
                return Reply(payload["status"], response, response.pop("_recovery", {}))
            self._note(topic, event, payload)

    async def _next_push(self) -> Push:
        while not self._pushed:
            _, _, topic, event, payload = await self._next_frame()
            self._note(topic, event, payload)
        return self._pushed.popleft()

    def _note(self, topic: str, event: str, payload: Any) -> None:
        if event == _TOKEN_PUSHED:
            self._topics[topic].token = payload["token"]
        else:
            self._pushed.append(Push(topic, event, payload))

    async def _next_frame(self) -> list[Any]:
        frame: list[Any] = json.loads((await self._receive("websocket.send"))["text"])
        return frame

    async def _receive(self, kind: str) -> dict[str, Any]:
        message: dict[str, Any] = await self._connected().receive_output(self.timeout)
        if message["type"] == "websocket.close":
            raise ConnectionClosed(message.get("code") or NORMAL)
        if message["type"] != kind:
            raise AssertionError(f"The consumer sent {message['type']} and not {kind}.")
        return message

    def _connected(self) -> Any:
        if self._connection is None:
            raise RuntimeError("The page isn't connected: call connect() or come_back().")
        return self._connection

    def _next_ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)

    def _last_topic(self) -> str:
        if not self._topics:
            raise RuntimeError("No topic is joined yet.")
        return next(reversed(self._topics))
