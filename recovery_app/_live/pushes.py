"""The numbered pushes of one socket: the next number, and the pushes that the client may lack.

A client that wants each push once and in order sends the number of the newest one that it has
with its joins (``_recv``). Numbers and pushes are stored with the state, in one step, and a push
is sent only after that. So the client never has a push that a later connection doesn't know, and
pushes that were lost on the way can be sent again.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from recovery_app._core.state_codec import trimmed
from recovery_app._live.protocol import Payload, to_json
from recovery_app._live.replies import MAX_NUMBER
from recovery_app.signals import observers

RECEIVED = "_recv"
RECEIVED_EVENT = "recovery:received"
"""The event by which a client says that it has pushes, where it has no event of its own to send."""
MAX_PUSHES = 128
MAX_PUSH_BYTES = 131_072
"""How many pushes are kept for a client, and their bytes."""
_NUMBER = b',"_push":%d}'
_NEWEST = struct.Struct(">Q")
_SIZES = struct.Struct(">II")
_turn: ContextVar[object] = ContextVar("recovery_push_turn", default=None)


class Push(NamedTuple):
    """An event for the client, and its payload as a JSON object."""

    event: str
    payload: bytes

    @property
    def size_bytes(self) -> int:
        """The size of what is kept of it."""
        return len(self.event) + len(self.payload)


class PushLog:
    """The pushes of one topic, from the handler's call until the client has them.

    ``send`` writes one to the client. ``received`` is the number of the newest that the client has;
    ``None`` if it has none.
    """

    def __init__(self, send: Callable[[str, bytes], Awaitable[None]], received: int | None) -> None:
        self.missed = False
        """Whether some pushes that the client lacks are gone."""
        self._send = send
        self._received = received or 0
        self._waiting: list[Push] = []
        """The pushes of the running handler."""
        self._admitted = sys.maxsize
        """How many of these waited when a state was taken over."""
        self._kept: list[Push] = []
        """The last ones, up to the `_newest`."""
        self._newest = self._packed = self._safe = self._sent = 0
        self._unsaved_bytes = 0
        self._restored = 0
        """The newest that an earlier connection may have sent."""
        self._is_open = False
        self._running: object = None
        self._token: Token[object] | None = None

    # A handler.

    def begin(self) -> None:
        """Note that a handler begins: its pushes wait until it is done."""
        self._running = object()
        self._token = _turn.set(self._running)

    def end(self) -> None:
        """Note that the handler has ended."""
        self._running = None
        if self._token is not None:
            _turn.reset(self._token)

    @property
    def is_in_handler(self) -> bool:
        """Whether the running code belongs to the handler, and not to a task started before it."""
        return self._running is not None and _turn.get() is self._running

    def add(self, event: str, payload: Any) -> None:
        """Add a push, which gets its number when it is committed."""
        body = to_json(payload)
        if not body.startswith(b"{"):
            raise TypeError(f"The payload of a push is a dict, not {type(payload).__name__}.")
        self._waiting.append(Push(event, trimmed(body)))

    def commit(self) -> None:
        """Number the waiting pushes, which are now part of the state."""
        self._kept += self._waiting
        self._newest += len(self._waiting)
        self._unsaved_bytes += sum(push.size_bytes for push in self._waiting)
        self._waiting.clear()

    def discard(self) -> None:
        """Drop the waiting pushes, because their handler has failed."""
        self._waiting.clear()

    # The state.

    @property
    def is_safe(self) -> bool:
        """Whether all committed pushes are stored."""
        return self._safe == self._newest

    @property
    def is_save_urgent(self) -> bool:
        """Whether a save is needed soon, before more pushes wait than are kept."""
        is_many = self._newest - self._safe >= MAX_PUSHES // 2
        return is_many or self._unsaved_bytes >= MAX_PUSH_BYTES // 2

    def restore(self, stored: bytes) -> None:
        """Continue with the pushes of a state that was taken over."""
        self._admitted = len(self._waiting)
        self._newest, self._kept = _unpack(stored)
        self._packed = self._safe = self._restored = self._newest
        first = self._newest - len(self._kept) + 1
        if self._received < first - 1:
            observers.pushes_dropped(first - 1 - self._received)
        self.missed = self._received < first - 1 or self._received > self._newest
        if self._received > self._newest:
            # A storage has lost some, or a client without numbers had the socket meanwhile.
            self._newest = self._received
            self._kept.clear()
        self._acknowledge(self._received)
        self._sent = self._newest - len(self._kept)

    def note_copied(self, stored: bytes) -> None:
        """Note which pushes the page whose state was copied has had."""
        self._admitted = len(self._waiting)
        self.missed = _unpack(stored)[0] > self._received

    def reset(self) -> None:
        """Start again, without the state that the pushes belonged to."""
        del self._waiting[self._admitted :]
        self._kept.clear()
        self._newest = self._packed = self._safe = self._sent = self._restored = 0
        self._unsaved_bytes = 0
        self.missed = False

    def pack(self) -> bytes:
        """Return the pushes as bytes to store; none before the first one."""
        self._packed = self._newest
        if not self._newest:
            return b""
        return _NEWEST.pack(self._newest) + b"".join(map(_pack, _newest_of(self._kept)))

    def note_saved(self) -> None:
        """Note that what was packed last is stored."""
        self._safe = self._packed
        self._unsaved_bytes = 0

    # The client.

    def open(self, *, has_snapshot: bool) -> None:
        """Note that the reply to the join is out."""
        self._is_open = True
        if not has_snapshot:
            # The client's token is still for another state, whose numbers it has.
            self._packed = self._safe = self._sent = self._received
            self._newest = self._received + len(self._kept)

    async def release(self, *, has_snapshot: bool) -> None:
        """Send the stored pushes, in order.

        Without a snapshot that the client could come back to, all pushes are sent without numbers,
        because the client can't ask for them again.
        """
        if not self._is_open:
            return
        if not has_snapshot:
            unsent = self._kept[len(self._kept) - (self._newest - self._sent) :]
            self._kept, self._newest, self._packed, self._safe = [], *[self._sent] * 3
            self._unsaved_bytes = 0
            for push in unsent:
                await self._send(push.event, push.payload)
            return
        first = again = dropped = 0
        while self._sent < self._safe:
            place = self._sent - self._newest
            self._sent += 1
            if -place <= len(self._kept):
                event, payload = self._kept[place]
                await self._send(event, _with_number(payload, self._sent))
                again += self._sent <= self._restored
                first += self._sent > self._restored
            else:
                dropped += 1
        if first or again:
            observers.pushes_sent(first, again)
        if dropped:
            observers.pushes_dropped(dropped)
        self._kept = _newest_of(self._kept)

    def take_acknowledgement(self, payload: Payload) -> None:
        """Remove ``_recv`` from an event's payload, and drop the pushes that the client has."""
        if isinstance(payload, dict) and RECEIVED in payload:
            received = as_received(payload.pop(RECEIVED))
            self._acknowledge(min(received or 0, self._sent))

    def _acknowledge(self, number: int) -> None:
        count = number - (self._newest - len(self._kept))
        if count > 0:
            del self._kept[:count]


def as_received(value: object) -> int | None:
    """Return the number in a ``_recv``; ``None`` for an invalid one."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= MAX_NUMBER else None  # type: ignore[operator, return-value]


def _newest_of(pushes: list[Push]) -> list[Push]:
    """Return the last ones that are within the bounds."""
    left_bytes, first = MAX_PUSH_BYTES, len(pushes)
    for push in reversed(pushes[-MAX_PUSHES:]):
        left_bytes -= push.size_bytes
        if left_bytes < 0:
            break
        first -= 1
    return pushes[first:]


def _with_number(payload: bytes, number: int) -> bytes:
    body = payload.removesuffix(b"}")
    # Of a key that comes twice, JSON readers take the last.
    return body + (_NUMBER % number).removeprefix(b"," if body == b"{" else b"")


def _pack(push: Push) -> bytes:
    event = push.event.encode(errors="surrogatepass")
    return _SIZES.pack(len(event), len(push.payload)) + event + push.payload


def _unpack(stored: bytes) -> tuple[int, list[Push]]:
    """Return the newest number and the pushes; nothing if they can't be read."""
    pushes = []
    position = _NEWEST.size
    try:
        newest = _NEWEST.unpack_from(stored)[0]
        while position < len(stored):
            name_bytes, payload_bytes = _SIZES.unpack_from(stored, position)
            start = position + _SIZES.size
            end = start + name_bytes
            position = end + payload_bytes
            event = stored[start:end].decode(errors="surrogatepass")
            pushes.append(Push(event, stored[end:position]))
    except (struct.error, UnicodeDecodeError):
        return 0, []
    return (newest, pushes) if position == len(stored) else (0, [])
