"""The kit's own client, without I/O: it has each event applied exactly once.

It is told what happens (`connect`, `receive`, `tick`) and returns the frames to send. The
protocol is described in ``docs/consumer.md``. Pages use ``recovery.js`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from recovery_app._live import phoenix
from recovery_app._live.protocol import TOKEN_EVENT, from_json, to_json
from recovery_app._live.pushes import RECEIVED, RECEIVED_EVENT
from recovery_app.chaos.received import ReceivedPushes

MAX_IN_FLIGHT = 32
RETRY_OUTCOMES = ("version", "failed", "unavailable")
"""Outcomes of a join after which the client keeps its events and joins again.

A page goes on with a fresh state after ``failed``. The kit waits: that state would lose events.
"""

Payload = dict[str, Any]


class Disconnect(Exception):
    """A reason to close the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReply:
    """The first reply to an event.

    It is forgotten if the server, asked again, only knows that it has replied before.
    """

    status: str
    response: Payload
    is_forgotten: bool = False


@dataclass(slots=True, kw_only=True)
class QueuedEvent:
    """An event that is queued until its effect is saved. ``seq`` is 0 until it is sent."""

    number: int
    event: str
    payload: Payload
    seq: int = 0
    ref: str = ""
    sent_at: float = 0.0
    is_in_flight: bool = False
    reply: EventReply | None = None


@dataclass(slots=True, kw_only=True)
class Client:
    """One socket, over all its connections. Times are seconds of a monotonic clock."""

    topic: str
    params: Payload = field(default_factory=dict)
    timeout_seconds: float = 3.0
    heartbeat_seconds: float = 2.0
    resend_seconds: float = 0.5
    """When all events have replies, how often to send the last again to learn if it is saved."""

    token: str | None = None
    outcome: str | None = None
    state: Payload = field(default_factory=dict)
    """The response of the last join, without its ``_recovery``."""
    queue: list[QueuedEvent] = field(default_factory=list)
    replies: dict[int, EventReply] = field(default_factory=dict)
    """The replies by the number of the event."""
    problems: list[str] = field(default_factory=list)
    """Descriptions of violated guarantees."""
    lost: set[int] = field(default_factory=set)
    repeats: int = 0
    joins: int = 0
    pushes: ReceivedPushes = field(default_factory=ReceivedPushes)

    _pushed: int = 0
    _saved_seq: int = 0
    _last_seq: int = 0
    _refs: dict[str, QueuedEvent] = field(default_factory=dict)
    _last_ref: int = 0
    _join_ref: str = ""
    _is_joined: bool = False
    _connected_at: float = 0.0
    _received_at: float = 0.0
    _heartbeat_at: float = 0.0

    def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Queue an event."""
        self.queue.append(QueuedEvent(number=self._pushed, event=event, payload=dict(payload)))
        self._pushed += 1

    def connect(self, now: float) -> list[str]:
        """Return the join, to be sent on a new connection."""
        self._is_joined = False
        self._refs.clear()
        for event in self.queue:
            event.is_in_flight = False
        self._connected_at = self._received_at = self._heartbeat_at = now
        token = {"_recovery": self.token} if self.token else {}
        self._join_ref = self._next_ref()
        payload = {**self.params, RECEIVED: self.pushes.newest, **token}
        return [self._frame(self._join_ref, self.topic, phoenix.JOIN, payload)]

    def receive(self, text: str, now: float) -> None:
        """Handle a message from the server; raise `Disconnect`."""
        self._received_at = now
        frame = phoenix.PhoenixProtocol().read(from_json(text))
        if frame is None or frame.topic != self.topic:
            return
        payload: Any = frame.payload
        if frame.join_ref not in (None, self._join_ref):
            return
        if frame.event == TOKEN_EVENT:
            self.token = payload["token"]
        elif frame.event in (phoenix.CLOSE, "phx_error"):
            raise Disconnect(f"the server sent {frame.event}")
        elif frame.event == phoenix.REPLY and frame.ref == self._join_ref:
            self._handle_join_reply(payload["status"], payload["response"])
        elif frame.event == phoenix.REPLY and (event := self._refs.get(str(frame.ref))):
            self._handle_reply(event, str(frame.ref), payload["status"], payload["response"])
        elif self._is_joined and frame.event != phoenix.REPLY and isinstance(payload, dict):
            self.problems += self.pushes.receive(payload)

    def tick(self, now: float) -> list[str]:
        """Return the frames to send now; raise `Disconnect` after a timeout."""
        if not self._is_joined:
            if now - self._connected_at > self.timeout_seconds:
                raise Disconnect("the join has no reply")
            return []
        return [*self._heartbeats(now), *self._events(now), *self._acknowledgements()]

    @property
    def unanswered(self) -> int:
        """Return how many events have no reply yet."""
        return sum(event.reply is None for event in self.queue)

    # Sending

    def _heartbeats(self, now: float) -> Iterator[str]:
        is_waiting = self._heartbeat_at > self._received_at
        if is_waiting and now - self._heartbeat_at > self.heartbeat_seconds:
            raise Disconnect("a heartbeat has no reply")
        if now - max(self._heartbeat_at, self._received_at) > self.heartbeat_seconds:
            self._heartbeat_at = now
            yield self._frame(None, phoenix.SYSTEM_TOPIC, phoenix.HEARTBEAT, {})

    def _events(self, now: float) -> Iterator[str]:
        if self.queue and all(event.reply and event.is_in_flight for event in self.queue):
            last = self.queue[-1]
            last.is_in_flight = now - last.sent_at < self.resend_seconds
        to_send = [event for event in self.queue if not (event.reply and event.is_in_flight)]
        max_seq = self._acknowledged + MAX_IN_FLIGHT
        for event in to_send:
            if event.is_in_flight and now - event.sent_at < self.timeout_seconds:
                continue
            if (event.seq or self._last_seq + 1) > max_seq:
                return  # Beyond this, the server might forget the reply that is missing.
            if not event.seq:
                self._last_seq += 1
                event.seq = self._last_seq
            event.is_in_flight, event.sent_at, event.ref = True, now, self._next_ref()
            self._refs[event.ref] = event
            payload = {**event.payload, "_seq": event.seq, "_ack": self._acknowledged}
            yield self._frame(self._join_ref, self.topic, event.event, payload, event.ref)

    def _acknowledgements(self) -> Iterator[str]:
        if self.pushes.is_due:
            payload = {RECEIVED: self.pushes.acknowledge()}
            yield self._frame(self._join_ref, self.topic, RECEIVED_EVENT, payload, self._next_ref())

    @property
    def _acknowledged(self) -> int:
        """Return the highest seq up to which all replies have arrived."""
        unanswered = (event.seq for event in self.queue if event.seq and not event.reply)
        return next(unanswered, self._last_seq + 1) - 1

    def _next_ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)

    def _frame(
        self, join_ref: str | None, topic: str, event: str, payload: Payload, ref: str = ""
    ) -> str:
        frame = [join_ref, ref or join_ref or self._next_ref(), topic, event, payload]
        return to_json(frame).decode()

    # Joins

    def _handle_join_reply(self, status: str, response: Payload) -> None:
        if status != "ok":
            raise Disconnect(f"the join was refused: {response}")
        recovery = response.pop("_recovery", {})
        self.token = recovery.get("token") or self.token
        self.outcome = recovery.get("outcome")
        if self.outcome in RETRY_OUTCOMES:
            raise Disconnect(f"the outcome is {self.outcome}")
        self.state = response
        self.pushes.handle_join(recovery)
        self._resume_from(recovery.get("seq", 0))
        self._is_joined = True
        self.joins += 1

    def _resume_from(self, seq: int) -> None:
        if self.outcome != "recovered":
            if self.joins:
                self._lose_sent(f"the outcome of a join was {self.outcome}")
            self._saved_seq = self._last_seq = 0
        elif seq < self._saved_seq:
            self._lose_sent(f"event {self._saved_seq} was saved, but a join has only {seq}")
            self._saved_seq = self._last_seq = seq
        else:
            self._mark_saved(seq)
            self._last_seq = max(self._last_seq, seq)

    def _lose_sent(self, reason: str) -> None:
        lost = [event for event in self.queue if event.seq]
        self.queue = [event for event in self.queue if not event.seq]
        self.lost.update(event.number for event in lost)
        self.problems.append(f"{reason}: {len(lost)} queued events lost")

    # Replies

    def _handle_reply(self, event: QueuedEvent, ref: str, status: str, response: Payload) -> None:
        recovery = response.pop("_recovery", {})
        if status == "error" and response.get("reason") == "seq_gap":
            if ref == event.ref:
                self._resend_after(response["seq"])
            return
        is_repeat = bool(recovery.get("repeat"))
        self.repeats += is_repeat
        if event.reply is None:
            is_forgotten = is_repeat and not response
            event.reply = EventReply(status=status, response=response, is_forgotten=is_forgotten)
            self.replies[event.number] = event.reply
        self._mark_saved(recovery.get("seq", 0))

    def _resend_after(self, seq: int) -> None:
        for event in self.queue:
            if event.seq > seq:
                event.is_in_flight = False

    def _mark_saved(self, seq: int) -> None:
        self._saved_seq = max(self._saved_seq, seq)
        self.queue = [
            event
            for event in self.queue
            if not (event.reply and event.seq and event.seq <= self._saved_seq)
        ]
