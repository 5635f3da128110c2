"""Own the slow way through a state: encode it value by value, or say what can't be stored.

Nothing here recurses, so no state, however deep, meets the interpreter's recursion limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from recovery_app.exceptions import UnserializableState
from recovery_app.serializers.rich import Unfit, checked_text, type_name

MAX_DEPTH = 254
"""How many dicts and lists may be inside each other; orjson writes no more."""

MAX_STEPS_SHOWN = 32
MAX_KEY_SHOWN = 40

Encoders = Mapping[type, Callable[[Any], Any]]


def encode(state: Mapping[str, Any], encoders: Encoders) -> dict[str, Any]:
    """Copy a state with each value encoded, or raise ``UnserializableState`` with its path."""
    if type(state) is not dict:
        raise UnserializableState("state", f"it is {_a(type(state))}, and a state is a dict")
    root = _Node(state)
    pending = [root]
    while pending:
        node = pending.pop()
        for key, value in node.items():
            if type(value) in _COPIES:
                child = _Node(value, node, key)
                node.copy[key] = child.copy
                pending.append(child)
            else:
                node.copy[key] = node.encode(key, value, encoders)
    copy: dict[str, Any] = root.copy
    return copy


def decode(state: dict[str, Any], revive: Callable[[str], Any], mark: str) -> dict[str, Any]:
    """Replace, in place, each string value that starts with the mark."""
    pending: list[Any] = [state]
    while pending:
        node = pending.pop()
        for key, value in _items(node):
            kind = type(value)
            if kind is str:
                if value.startswith(mark):
                    node[key] = revive(value)
            elif kind in _COPIES:
                pending.append(value)
    return state


_COPIES: Mapping[type, type[dict[str, Any]] | type[list[Any]]] = {
    dict: dict,
    list: list,
    tuple: list,
}
# How to get a plain value of a subclass. str() of Django's SafeString is the SafeString.
_PLAIN_ONE = {dict: "dict(it)", list: "list(it)", tuple: "list(it)", str: "it[:]"}


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if type(container) is dict else enumerate(container)


class _Node:
    """A dict or list on the way, with its copy and how the walk came to it."""

    __slots__ = ("copy", "depth", "key", "parent", "source")

    def __init__(self, source: Any, parent: _Node | None = None, key: str | int = "") -> None:
        self.source = source
        self.parent = parent
        self.key = key
        self.depth: int = parent.depth + 1 if parent else 1
        self.copy = _COPIES[type(source)](source)
        if self.depth > MAX_DEPTH:
            raise self._too_deep()
        if type(source) is dict:
            self._check_keys()

    def items(self) -> Iterable[tuple[Any, Any]]:
        return _items(self.copy)

    def encode(self, key: str | int, value: Any, encoders: Encoders) -> Any:
        try:
            encoder = encoders.get(type(value))
            if encoder is None:
                raise Unfit(_why_not(type(value), encoders))
            return encoder(value)
        except Unfit as unfit:
            raise UnserializableState(_path([*self._steps(), key]), str(unfit)) from None

    def _check_keys(self) -> None:
        for key in self.copy:
            if type(key) is not str:
                problem = f"it has a key that is {_a(type(key))}, and keys are str"
                raise UnserializableState(_path(self._steps()), problem)
            try:
                checked_text(key)
            except Unfit as unfit:
                path = _path([*self._steps(), key])
                raise UnserializableState(path, f"in its key, {unfit}") from None

    def _too_deep(self) -> UnserializableState:
        """Tell a container that holds itself from one that is only deep."""
        above: set[int] = set()
        for node in reversed([*self._lineage()]):
            if id(node.source) in above:
                return UnserializableState(_path(node._steps()), "it contains itself")
            above.add(id(node.source))
        problem = f"it is nested more than {MAX_DEPTH} deep"
        return UnserializableState(_path(self._steps()), problem)

    def _lineage(self) -> Iterator[_Node]:
        node: _Node | None = self
        while node:
            yield node
            node = node.parent

    def _steps(self) -> list[str | int]:
        return [node.key for node in self._lineage() if node.parent][::-1]


def _path(steps: list[str | int]) -> str:
    """Spell a path as in ``state["items"][3].price``."""
    spelled = [_step(key, first=not index) for index, key in enumerate(steps)]
    if len(spelled) > MAX_STEPS_SHOWN:
        half = MAX_STEPS_SHOWN // 2
        spelled = [*spelled[:half], " … ", *spelled[-half:]]
    return "state" + "".join(spelled)


def _step(key: str | int, *, first: bool) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > MAX_KEY_SHOWN:
        key = key[:MAX_KEY_SHOWN] + "…"
    elif key.isidentifier() and not first:
        return f".{key}"
    # Lone surrogates can't be printed; json escapes them.
    return f"[{json.dumps(key, ensure_ascii=not key.isprintable())}]"


def _why_not(kind: type, encoders: Encoders) -> str:
    if issubclass(kind, Enum):
        return f"it is {_a(kind)}, an enum; store its value"
    for base in kind.__mro__:
        if base in encoders or base in _COPIES:
            plain = f"would come back as a plain {_COPIES.get(base, base).__name__}"
            return f"it is {_a(kind)} and {plain}; store {_PLAIN_ONE.get(base, 'a plain one')}"
    return f"it is {_a(kind)}, which no snapshot can hold"


def _a(kind: type) -> str:
    """Name a type with its article."""
    name = type_name(kind)
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"
