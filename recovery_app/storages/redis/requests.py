"""Requests to a server and the pipelines in which they travel, without I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from redis.exceptions import NoScriptError

from recovery_app.storages.redis import script

Command = tuple[Any, ...]
Result = TypeVar("Result")
GET = "GET"
EVALSHA = "EVALSHA"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command that takes a key first, or `EVALSHA` for a fenced step.

    ``operation`` names it in errors. ``repeatable``: it may be sent again when its reply was
    lost. ``is_tracked``: where somebody follows streams, the server is to say when the key
    changes. ``read`` turns a reply into what the storage returns.
    """

    name: str
    operation: str
    writes: bool = True
    repeatable: bool = True
    is_tracked: bool = False
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
        self.requests = requests
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
        for request in self.requests:
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
