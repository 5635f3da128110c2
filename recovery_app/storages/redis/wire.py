"""Own calls to the server and the packets in which they travel. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recovery_app.storages.redis.script import SCRIPT, SHA, Step

Command = tuple[Any, ...]
GET = "GET"
STEP = "EVALSHA"


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One thing that is asked of the server which holds the key.

    ``name`` is a command that takes the key first, or `STEP`, whose arguments are a
    step's. ``size_bytes`` is of its payload. ``repeatable``: no harm comes of
    making it twice where the first reply is lost.
    """

    key: bytes
    name: str
    arguments: Command = ()
    writes: bool = True
    repeatable: bool = True
    size_bytes: int = 0


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
        self._size = len(calls)
        self._asking = asking
        self.commands: list[Command] = []
        self._takers: list[tuple[int, list[int], bool]] = []
        self._writes = [call.writes for call in calls]
        self._waits = manner.replicas if any(self._writes) else 0
        if len(calls) > 1 and manner.joined and not asking:
            self._join(calls)
        else:
            for place, call in enumerate(calls):
                self._add(self._alone(call), [place], spread=call.name == STEP)
        if self._waits:
            self.commands.append(("WAIT", manner.replicas, manner.wait_ms))

    def settled(self, replies: Sequence[Any]) -> list[Any]:
        """Give what each call comes to, in their order: a reply, or an exception."""
        results: list[Any] = [None] * self._size
        for position, places, spread in self._takers:
            reply = replies[position]
            if not spread or isinstance(reply, Exception):
                for place in places:
                    results[place] = reply
            else:
                for place, part in zip(places, reply, strict=True):
                    results[place] = part
        shortage = self._shortage(replies)
        if shortage is None:
            return results
        return [
            shortage if write and not isinstance(result, Exception) else result
            for write, result in zip(self._writes, results, strict=True)
        ]

    def _shortage(self, replies: Sequence[Any]) -> Exception | None:
        reply = replies[-1] if self._waits else 0
        if isinstance(reply, Exception):
            return reply
        if reply < self._waits:
            return TooFewReplicas(f"{reply} of {self._waits} replicas have the write.")
        return None

    def _join(self, calls: Sequence[Call]) -> None:
        loads = [place for place, call in enumerate(calls) if call.name == GET]
        steps = [place for place, call in enumerate(calls) if call.name == STEP]
        if len(loads) == 1:
            self._add((GET, calls[loads[0]].key), loads, spread=False)
        elif loads:
            self._add(("MGET", *(calls[place].key for place in loads)), loads, spread=True)
        if steps:
            command: list[Any] = [*self._script, len(steps)]
            command += [calls[place].key for place in steps]
            for place in steps:
                command += calls[place].arguments
            self._add(tuple(command), steps, spread=True)
        for place, call in enumerate(calls):
            if call.name not in (GET, STEP):
                self._add(self._alone(call), [place], spread=False)

    def _alone(self, call: Call) -> Command:
        if call.name == STEP:
            return (*self._script, 1, call.key, *call.arguments)
        return (call.name, call.key, *call.arguments)

    def _add(self, command: Command, places: list[int], *, spread: bool) -> None:
        if self._asking:
            self.commands.append(("ASKING",))
        self._takers.append((len(self.commands), places, spread))
        self.commands.append(command)


def load(key: bytes) -> Call:
    """Ask for what is stored."""
    return Call(key=key, name=GET, writes=False)


def save(key: bytes, data: bytes, ttl_ms: int) -> Call:
    """Store bytes, whatever was there."""
    return Call(key=key, name="SET", arguments=(data, "PX", ttl_ms), size_bytes=len(data))


def delete(key: bytes) -> Call:
    """Remove what is stored."""
    return Call(key=key, name="DEL")


def fenced(key: bytes, step: Step, *, repeatable: bool = True) -> Call:
    """Make one of the script's steps."""
    return Call(key=key, name=STEP, arguments=step, repeatable=repeatable, size_bytes=len(step[1]))
