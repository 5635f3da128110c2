"""Own calls to the server and the packets in which they travel. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from recovery_app.storages.redis.script import SCRIPT, SHA, Step, read_verdict

Command = tuple[Any, ...]
GET = "GET"
STEP = "EVALSHA"


@dataclass(slots=True, eq=False)
class Call:
    """One thing that is asked of the server which holds the key.

    ``name`` is a command that takes the key first, or `STEP`, whose arguments are a
    step's. ``size_bytes`` is of its payload. ``repeatable``: no harm comes of
    making it twice where the first reply is lost. ``read`` makes of a good reply what the
    storage gives. ``result`` is the reply, or an exception, when there is one.
    """

    key: bytes
    name: str
    arguments: Command = ()
    writes: bool = True
    repeatable: bool = True
    size_bytes: int = 0
    read: Callable[[Any], Any] | None = None
    result: Any = None


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
        self._waits = manner.replicas if any(call.writes for call in calls) else 0
        if len(calls) > 1 and manner.joined and not asking:
            self._join(calls)
        else:
            for call in calls:
                self._add(self._alone(call), [call], spread=call.name == STEP)
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
                if call.writes and not isinstance(call.result, Exception):
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
            (loads if call.name == GET else steps if call.name == STEP else others).append(call)
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
        if call.name == STEP:
            return (*self._script, 1, call.key, *call.arguments)
        return (call.name, call.key, *call.arguments)

    def _add(self, command: Command, calls: Sequence[Call], *, spread: bool) -> None:
        if self._asking:
            self.commands.append(("ASKING",))
        self._takers.append((len(self.commands), calls, spread))
        self.commands.append(command)


def load(key: bytes) -> Call:
    """Ask for what is stored."""
    return Call(key, GET, writes=False)


def time_left(key: bytes) -> Call:
    """Ask for the milliseconds until it expires."""
    return Call(key=key, name="PTTL", writes=False)


def save(key: bytes, data: bytes, ttl_ms: int) -> Call:
    """Store bytes, whatever was there."""
    return Call(key, "SET", (data, "PX", ttl_ms), size_bytes=len(data), read=_nothing)


def _nothing(_reply: Any) -> None:
    """Give nothing, as the storage does when it has saved."""


def delete(key: bytes) -> Call:
    """Remove what is stored."""
    return Call(key, "DEL", read=bool)


def fenced(
    key: bytes, step: Step, read: Callable[[Any], Any] = read_verdict, *, repeatable: bool = True
) -> Call:
    """Make one of the script's steps."""
    return Call(key, STEP, step, True, repeatable, len(step[1]), read)
