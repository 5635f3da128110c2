"""Own a client that wants each event applied exactly once: its rules, without a connection.

It is told what happens (`connect`, `receive`, `tick`), and gives the frames to send. What
server and client promise each other is in ``docs/consumer.md``. `recovery.js` is the client of
pages; this one is the kit's own, to run scripts with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recovery_app._live import phoenix
from recovery_app._live.protocol import TOKEN_EVENT, from_json, to_json

MAX_ON_WIRE = 32
KEPT_BACK = ("version", "unavailable")
"""Outcomes of a join after which nothing is sent: another node may know better."""

Payload = dict[str, Any]


class Drop(Exception):
    """The connection is of no use any more; the reason is the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The first reply to an event. One given again may be known to be one, and no more."""

    status: str
    response: Payload
    is_forgotten: bool = False


@dataclass(slots=True, kw_only=True)
class Event:
    """An event that is kept until it is safe. ``seq`` is 0 before it is first sent."""

    number: int
    event: str
    payload: Payload
    seq: int = 0
    ref: str = ""
    sent_at: float = 0.0
    is_on_wire: bool = False
    reply: Reply | None = None


@dataclass(slots=True, kw_only=True)
class Client:
    """One socket, through all its connections. Times are seconds of a monotonic clock."""

    topic: str
    params: Payload = field(default_factory=dict)
    timeout_seconds: float = 3.0
    heartbeat_seconds: float = 2.0
    ask_seconds: float = 0.5
    """After so long the last event is sent again, to hear whether it is safe by now."""

    token: str | None = None
    outcome: str | None = None
    state: Payload = field(default_factory=dict)
    """The response of the last join, without what it says of recovery."""
    kept: list[Event] = field(default_factory=list)
    replies: dict[int, Reply] = field(default_factory=dict)
    """By the number of the event, each once."""
    problems: list[str] = field(default_factory=list)
    """What must never happen, in words."""
    lost: set[int] = field(default_factory=set)
    repeats: int = 0
    joins: int = 0

    _pushed: int = 0
    _safe: int = 0
    _last: int = 0
    _refs: dict[str, Event] = field(default_factory=dict)
    _last_ref: int = 0
    _join_ref: str = ""
    _is_joined: bool = False
    _began_at: float = 0.0
    _heard_at: float = 0.0
    _asked_at: float = 0.0

    # What happens

    def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Keep an event, to be sent in its turn."""
        self.kept.append(Event(number=self._pushed, event=event, payload=dict(payload)))
        self._pushed += 1

    def connect(self, now: float) -> list[str]:
        """Begin a connection: give the join."""
        self._is_joined = False
        self._refs.clear()
        for event in self.kept:
            event.is_on_wire = False
        self._began_at = self._heard_at = self._asked_at = now
        shown = {"_recovery": self.token} if self.token else {}
        self._join_ref = self._next_ref()
        return [self._frame(self._join_ref, self.topic, phoenix.JOIN, {**self.params, **shown})]

    def receive(self, text: str, now: float) -> None:
        """Take what the server sends; raise `Drop` where it ends the connection."""
        self._heard_at = now
        frame = phoenix.PhoenixProtocol().read(from_json(text))
        if frame is None or frame.topic != self.topic:
            return
        payload: Any = frame.payload
        if frame.join_ref not in (None, self._join_ref):
            return
        if frame.event == TOKEN_EVENT:
            self.token = payload["token"]
        elif frame.event in (phoenix.CLOSE, "phx_error"):
            raise Drop(f"the server says {frame.event}")
        elif frame.event == phoenix.REPLY and frame.ref == self._join_ref:
            self._take_join(payload["status"], payload["response"])
        elif frame.event == phoenix.REPLY and (event := self._refs.get(str(frame.ref))):
            self._take_reply(event, str(frame.ref), payload["status"], payload["response"])

    def tick(self, now: float) -> list[str]:
        """Give what is to be sent now; raise `Drop` where the other side is silent."""
        if not self._is_joined:
            if now - self._began_at > self.timeout_seconds:
                raise Drop("the join has no reply")
            return []
        return [*self._beat(now), *self._events(now)]

    # Sending

    def _beat(self, now: float) -> Iterator[str]:
        if self._asked_at > self._heard_at and now - self._asked_at > self.heartbeat_seconds:
            raise Drop("a heartbeat has no reply")
        if now - max(self._asked_at, self._heard_at) > self.heartbeat_seconds:
            self._asked_at = now
            yield self._frame(None, phoenix.SYSTEM_TOPIC, phoenix.HEARTBEAT, {})

    @property
    def unanswered(self) -> int:
        """Give how many events have no reply yet."""
        return sum(event.reply is None for event in self.kept)

    def _events(self, now: float) -> Iterator[str]:
        if self.kept and all(event.reply and event.is_on_wire for event in self.kept):
            self.kept[-1].is_on_wire = now - self.kept[-1].sent_at < self.ask_seconds
        waiting = [event for event in self.kept if not (event.reply and event.is_on_wire)]
        farthest = self._acknowledged + MAX_ON_WIRE
        for event in waiting:
            if event.is_on_wire and now - event.sent_at < self.timeout_seconds:
                continue
            if (event.seq or self._last + 1) > farthest:
                return  # Further on, the server might know the missing reply no more.
            if not event.seq:
                self._last += 1
                event.seq = self._last
            event.is_on_wire, event.sent_at, event.ref = True, now, self._next_ref()
            self._refs[event.ref] = event
            payload = {**event.payload, "_seq": event.seq, "_ack": self._acknowledged}
            yield self._frame(self._join_ref, self.topic, event.event, payload, event.ref)

    @property
    def _acknowledged(self) -> int:
        """Give the highest seq up to which all replies are here."""
        unanswered = (event.seq for event in self.kept if event.seq and not event.reply)
        return next(unanswered, self._last + 1) - 1

    def _next_ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)

    def _frame(
        self, join_ref: str | None, topic: str, event: str, payload: Payload, ref: str = ""
    ) -> str:
        frame = [join_ref, ref or join_ref or self._next_ref(), topic, event, payload]
        return to_json(frame).decode()

    # Joins

    def _take_join(self, status: str, response: Payload) -> None:
        if status != "ok":
            raise Drop(f"the join is refused: {response}")
        recovery = response.pop("_recovery", {})
        self.token = recovery.get("token") or self.token
        self.outcome = recovery.get("outcome")
        if self.outcome in KEPT_BACK:
            raise Drop(f"the outcome is {self.outcome}")
        self.state = response
        self._go_on_from(recovery.get("seq", 0))
        self._is_joined = True
        self.joins += 1

    def _go_on_from(self, seq: int) -> None:
        if self.outcome != "recovered":
            if self.joins:
                self._lose_sent(f"a join's outcome was {self.outcome}")
            self._safe = self._last = 0
        elif seq < self._safe:
            self._lose_sent(f"event {self._safe} was safe, and a join says {seq}")
            self._safe = self._last = seq
        else:
            self._is_safe_to(seq)
            self._last = max(self._last, seq)

    def _lose_sent(self, why: str) -> None:
        lost = [event for event in self.kept if event.seq]
        self.kept = [event for event in self.kept if not event.seq]
        self.lost.update(event.number for event in lost)
        self.problems.append(f"{why}: {len(lost)} kept events lost")

    # Replies

    def _take_reply(self, event: Event, ref: str, status: str, response: Payload) -> None:
        recovery = response.pop("_recovery", {})
        if status == "error" and response.get("reason") == "seq_gap":
            if ref == event.ref:
                self._send_again_after(response["seq"])
            return
        is_repeat = bool(recovery.get("repeat"))
        self.repeats += is_repeat
        if event.reply is None:
            reply = Reply(status=status, response=response, is_forgotten=is_repeat and not response)
            event.reply = self.replies[event.number] = reply
        self._is_safe_to(recovery.get("seq", 0))

    def _send_again_after(self, seq: int) -> None:
        for event in self.kept:
            if event.seq > seq:
                event.is_on_wire = False

    def _is_safe_to(self, seq: int) -> None:
        self._safe = max(self._safe, seq)
        self.kept = [
            event
            for event in self.kept
            if not (event.reply and event.seq and event.seq <= self._safe)
        ]
