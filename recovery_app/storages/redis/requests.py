"""Requests to a server and the pipelines in which they travel, without I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from redis.exceptions import NoScriptError

from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages.redis import script
from recovery_app.storages.redis.keys import Keys

Command = tuple[Any, ...]
Result = TypeVar("Result")
GET = "GET"
EVALSHA = "EVALSHA"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command that takes a key first, or `EVALSHA` for a fenced step.

    ``operation`` names it in errors. ``repeatable``: it may be sent again when its reply was
    lost. ``read`` turns a reply into what the storage returns.
    """

    name: str
    operation: str
    writes: bool = True
    repeatable: bool = True
    read: Callable[[Any], Any] | None = None


class Request(Generic[Result]):
    """A command for the server that holds a key.

    ``result`` is the reply, or an exception, once there is one. ``future`` gets it where the
    request travels with others.
    """

    __slots__ = ("arguments", "future", "key", "payload_bytes", "result", "spec")

    future: asyncio.Future[Any]
    result: Any

    def __init__(
        self, spec: CommandSpec, key: bytes, arguments: Command = (), payload_bytes: int = 0
    ) -> None:
        self.spec = spec
        self.key = key
        self.arguments = arguments
        self.payload_bytes = payload_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How requests become commands.

    ``multi_key``: one command may name several keys, as it may not on a Cluster. ``replicas``
    must have each write, within ``wait_ms``.
    """

    multi_key: bool = True
    replicas: int = 0
    wait_ms: int = 0


class TooFewReplicas(Exception):
    """Fewer replicas than required have a write."""


class Pipeline:
    """The commands for some requests, and the way back from replies to results."""

    def __init__(
        self,
        requests: Sequence[Request[Any]],
        options: WriteOptions,
        *,
        asking: bool = False,
        by_hash: bool = True,
    ) -> None:
        self.commands: list[Command] = []
        self.is_repeatable = all(request.spec.repeatable for request in requests)
        self._requests = requests
        self._options = options
        self._asking = asking
        self._script = (EVALSHA, script.SHA) if by_hash else ("EVAL", script.SCRIPT)
        self._sent: list[tuple[int, Sequence[Request[Any]], bool]] = []
        may_join = options.multi_key and not asking and len(requests) > 1
        for group in _groups(requests) if may_join else [[request] for request in requests]:
            self._add(group)
        self._replicas = 0
        if options.replicas and any(request.spec.writes for request in requests):
            self._replicas = options.replicas
            self.commands.append(("WAIT", options.replicas, options.wait_ms))

    def settle(self, replies: Sequence[Any]) -> Pipeline | None:
        """Set the result of each request.

        Return another pipeline, to be sent next, if the server didn't know the script: it has
        been restarted, or its scripts were flushed.
        """
        unknown: list[Request[Any]] = []
        for position, group, is_list in self._sent:
            reply = replies[position]
            if is_list and not isinstance(reply, Exception):
                for request, result in zip(group, reply, strict=True):
                    request.result = result
                continue
            for request in group:
                request.result = reply
            if isinstance(reply, NoScriptError):
                unknown += group
        if self._replicas:
            self._check_replicas(replies[-1])
        if not unknown:
            return None
        return Pipeline(unknown, self._options, asking=self._asking, by_hash=False)

    def _add(self, group: Sequence[Request[Any]]) -> None:
        first = group[0]
        name = first.spec.name
        is_list = True
        command: Command
        if name == EVALSHA:
            keys = [request.key for request in group]
            arguments = chain.from_iterable([request.arguments for request in group])
            command = (*self._script, len(keys), *keys, *arguments)
        elif len(group) > 1:
            command = ("MGET", *[request.key for request in group])
        else:
            command, is_list = (name, first.key, *first.arguments), False
        if self._asking:
            self.commands.append(("ASKING",))
        self._sent.append((len(self.commands), group, is_list))
        self.commands.append(command)

    def _check_replicas(self, reply: Any) -> None:
        error = reply
        if not isinstance(reply, Exception):
            if reply >= self._replicas:
                return
            error = TooFewReplicas(f"{reply} of {self._replicas} replicas have the write.")
        for request in self._requests:
            if request.spec.writes and not isinstance(request.result, Exception):
                request.result = error


def _groups(requests: Sequence[Request[Any]]) -> list[list[Request[Any]]]:
    """Return the requests by the command that they share: loads, fenced steps, each other."""
    loads: list[Request[Any]] = []
    steps: list[Request[Any]] = []
    others: list[list[Request[Any]]] = []
    for request in requests:
        name = request.spec.name
        if name == EVALSHA:
            steps.append(request)
        elif name == GET:
            loads.append(request)
        else:
            others.append([request])
    return [*filter(None, (loads, steps)), *others]


def _nothing(_reply: Any) -> None:
    """Return nothing, whatever the reply."""


LOAD = CommandSpec(name=GET, operation="load", writes=False)
TIME_LEFT = CommandSpec(name="PTTL", operation="load", writes=False)
SAVE = CommandSpec(name="SET", operation="save", read=_nothing)
DELETE = CommandSpec(name="DEL", operation="delete", read=bool)
SAVE_FENCED = CommandSpec(name=EVALSHA, operation="save", read=script.read_verdict)
TOUCH = CommandSpec(name=EVALSHA, operation="touch", read=script.read_verdict)
TAKE_OVER = CommandSpec(name=EVALSHA, operation="takeover", read=script.read_decision)
# Sent twice, the second would find the binding that the first has set.
RENEW = CommandSpec(name=EVALSHA, operation="renewal", read=script.read_decision, repeatable=False)
REVOKE = CommandSpec(name=EVALSHA, operation="revocation", read=script.read_verdict)


class RequestFactory:
    """The request for each call of the storage; ``ttl`` is in seconds."""

    def __init__(self, keys: Keys) -> None:
        self._encode = keys.encode

    def load(self, key: str) -> Request[bytes | None]:
        return Request(LOAD, self._encode(key))

    def time_left(self, key: str) -> Request[int]:
        return Request(TIME_LEFT, self._encode(key))

    def save(self, key: str, data: bytes, ttl: float) -> Request[None]:
        return Request(SAVE, self._encode(key), (data, "PX", to_ms(ttl)), len(data))

    def delete(self, key: str) -> Request[bool]:
        return Request(DELETE, self._encode(key))

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Request[Verdict]:
        arguments = script.save_arguments(data, to_ms(ttl))
        return Request(SAVE_FENCED, self._encode(key), arguments, len(data))

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Request[Verdict]:
        return Request(TOUCH, self._encode(key), script.touch_arguments(claim, to_ms(ttl)))

    def take_over(
        self, key: str, claim: Claim, ttl: float, now_us: int, newest_version: int | None
    ) -> Request[Decision]:
        arguments = script.take_over_arguments(
            claim, to_ms(ttl), now_us=now_us, newest_version=newest_version
        )
        return Request(TAKE_OVER, self._encode(key), arguments)

    def renew(
        self, key: str, claim: Claim, ttl: float, now_us: int, binding: bytes
    ) -> Request[Decision]:
        arguments = script.renew_arguments(claim, to_ms(ttl), now_us=now_us, binding=binding)
        return Request(RENEW, self._encode(key), arguments)

    def revoke(self, key: str, claim: Claim, ttl: float, now_us: int) -> Request[Verdict]:
        arguments = script.revoke_arguments(claim, to_ms(ttl), now_us=now_us)
        return Request(REVOKE, self._encode(key), arguments)


def to_ms(ttl: float) -> int:
    """Return seconds as whole milliseconds, at least one."""
    ms = round(ttl * 1000)
    return ms if ms > 0 else 1
