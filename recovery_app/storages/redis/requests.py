"""Own calls to the server and the packets in which they travel. No I/O here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from recovery_app.storages.redis.script import (
    SCRIPT,
    SHA,
    Step,
    read_decision,
    read_verdict,
)

Command = tuple[Any, ...]
GET = "GET"
STEP = "EVALSHA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What can be asked of a server.

    ``name`` is a command that takes the key first, or `STEP`, whose arguments are a
    step's. ``repeatable``: no harm comes of making it twice where the first reply is lost.
    ``read`` makes of a good reply what the storage gives.
    """

    name: str
    writes: bool = True
    repeatable: bool = True
    read: Callable[[Any], Any] | None = None


class Call:
    """One thing that is asked of the server which holds the key.

    ``size_bytes`` is of its payload. ``result`` is the reply, or an exception, when there is
    one; ``future`` is for whoever has it travel with others to tell that there is.
    """

    __slots__ = ("arguments", "future", "key", "kind", "result", "size_bytes")

    future: asyncio.Future[Any]
    result: Any

    def __init__(
        self, kind: Kind, key: bytes, arguments: Command = (), size_bytes: int = 0
    ) -> None:
        self.kind = kind
        self.key = key
        self.arguments = arguments
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How calls are put into commands.

    ``joined``: one command may name several keys, as it may not on a Cluster. ``replicas``
    must have each write before it counts, after at most ``wait_ms``.
    """

    joined: bool = True
    replicas: int = 0
    wait_ms: int = 0


class TooFewReplicas(Exception):
    """Fewer replicas than wanted have a write."""


class Packet:
    """Several calls as the commands of one pipeline, and the way back from the replies."""

    def __init__(
        self,
        calls: Sequence[Call],
        manner: Manner,
        *,
        by_hash: bool = True,
        asking: bool = False,
    ) -> None:
        self._script = ("EVALSHA", SHA) if by_hash else ("EVAL", SCRIPT)
        self._calls = calls
        self._asking = asking
        self.commands: list[Command] = []
        self._takers: list[tuple[int, Sequence[Call], bool]] = []
        self._waits = manner.replicas if any(call.kind.writes for call in calls) else 0
        if len(calls) > 1 and manner.joined and not asking:
            self._join(calls)
        else:
            for call in calls:
                self._add(self._alone(call), [call], spread=call.kind.name == STEP)
        if self._waits:
            self.commands.append(("WAIT", manner.replicas, manner.wait_ms))

    def settle(self, replies: Sequence[Any]) -> None:
        """Give each call its result."""
        for position, calls, spread in self._takers:
            reply = replies[position]
            if not spread or isinstance(reply, Exception):
                for call in calls:
                    call.result = reply
            else:
                for call, part in zip(calls, reply, strict=True):
                    call.result = part
        shortage = self._shortage(replies)
        if shortage is not None:
            for call in self._calls:
                if call.kind.writes and not isinstance(call.result, Exception):
                    call.result = shortage

    def _shortage(self, replies: Sequence[Any]) -> Exception | None:
        reply = replies[-1] if self._waits else 0
        if isinstance(reply, Exception):
            return reply
        if reply < self._waits:
            return TooFewReplicas(f"{reply} of {self._waits} replicas have the write.")
        return None

    def _join(self, calls: Sequence[Call]) -> None:
        loads: list[Call] = []
        steps: list[Call] = []
        others: list[Call] = []
        for call in calls:
            name = call.kind.name
            (loads if name == GET else steps if name == STEP else others).append(call)
        if len(loads) == 1:
            self._add((GET, loads[0].key), loads, spread=False)
        elif loads:
            self._add(("MGET", *[call.key for call in loads]), loads, spread=True)
        if steps:
            command: list[Any] = [*self._script, len(steps)]
            command += [call.key for call in steps]
            for call in steps:
                command += call.arguments
            self._add(tuple(command), steps, spread=True)
        for call in others:
            self._add(self._alone(call), [call], spread=False)

    def _alone(self, call: Call) -> Command:
        if call.kind.name == STEP:
            return (*self._script, 1, call.key, *call.arguments)
        return (call.kind.name, call.key, *call.arguments)

    def _add(self, command: Command, calls: Sequence[Call], *, spread: bool) -> None:
        if self._asking:
            self.commands.append(("ASKING",))
        self._takers.append((len(self.commands), calls, spread))
        self.commands.append(command)


def _nothing(_reply: Any) -> None:
    """Give nothing, as the storage does when it has saved."""


LOAD = Kind(name=GET, writes=False)
TIME_LEFT = Kind(name="PTTL", writes=False)
SAVE = Kind(name="SET", read=_nothing)
DELETE = Kind(name="DEL", read=bool)
FENCED = Kind(name=STEP, read=read_verdict)
TAKEOVER = Kind(name=STEP, read=read_decision)
# Made twice, the second would find the binding that the first has set.
RENEWAL = Kind(name=STEP, read=read_decision, repeatable=False)


def load(key: bytes) -> Call:
    """Ask for what is stored."""
    return Call(LOAD, key)


def time_left(key: bytes) -> Call:
    """Ask for the milliseconds until it expires."""
    return Call(TIME_LEFT, key)


def save(key: bytes, data: bytes, ttl_ms: int) -> Call:
    """Store bytes, whatever was there."""
    return Call(SAVE, key, (data, "PX", ttl_ms), len(data))


def delete(key: bytes) -> Call:
    """Remove what is stored."""
    return Call(DELETE, key)


def fenced(key: bytes, step: Step, kind: Kind = FENCED) -> Call:
    """Make one of the script's steps."""
    return Call(kind, key, step, len(step[1]))
