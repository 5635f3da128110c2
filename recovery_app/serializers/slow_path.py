"""The slow path, which encodes a state value by value and names what can't be stored.

Nothing here is recursive, so even a deep state doesn't reach the recursion limit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from recovery_app.exceptions import UnserializableState
from recovery_app.serializers.fast_path import MAX_DEPTH
from recovery_app.serializers.types import Encoders, Unserializable, checked_text, type_name

MAX_STEPS_SHOWN = 32
MAX_KEY_SHOWN = 40

COPIES: Mapping[type, Callable[[Any], Any]] = {dict: dict, list: list, tuple: list}
ONLY_STR = frozenset({str})
AS_THEY_ARE = frozenset({bool, type(None)})
# How to convert a subclass to the plain type. str() of a SafeString is the SafeString itself.
PLAIN_ONE: Mapping[type, str] = {
    dict: "dict(it)",
    list: "list(it)",
    tuple: "list(it)",
    str: "it[:]",
}
# What to store in place of a value, by its class or the first of its bases that is here. They are
# not imported: whoever imports this may need none of them.
_BY_CHOICE = "what identifies it, such as its name"
INSTEAD: Mapping[str, str] = {
    "django.db.models.base.Model": "its pk, and load it in after_recover()",
    "django.db.models.query.QuerySet": "a list of pks, and load them in after_recover()",
    "django.utils.functional.Promise": "str(it)",
    "django.core.files.base.File": "its name",
    "_io._IOBase": "its name, or its content",
    "builtins.set": "sorted(it)",
    "builtins.frozenset": "sorted(it)",
    "builtins.generator": "list(it)",
    "builtins.function": _BY_CHOICE,
    "builtins.method": _BY_CHOICE,
    "builtins.type": _BY_CHOICE,
}


def encode(state: Mapping[str, Any], encoders: Encoders) -> dict[str, Any]:
    """Return a copy of a state with each value encoded; raise ``UnserializableState``."""
    if type(state) is not dict:
        raise UnserializableState("state", f"it is {_a(type(state))}, but a state must be a dict")
    root = _Node(state)
    pending = [root]
    while pending:
        pending += pending.pop().encode(encoders)
    copy: dict[str, Any] = root.copy
    return copy


def decode(state: dict[str, Any], decode_tagged: Callable[[str], Any], mark: str) -> dict[str, Any]:
    """Return a state with each marked string decoded, in place."""
    pending: list[Any] = [state]
    while pending:
        node = pending.pop()
        for key, value in _items(node):
            kind = type(value)
            if kind is str:
                if value.startswith(mark):
                    node[key] = decode_tagged(value)
            elif kind in COPIES:
                pending.append(value)
    return state


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if type(container) is dict else enumerate(container)


class _Node:
    """A dict or list of the state, with its copy and its place."""

    __slots__ = ("copy", "depth", "key", "parent", "source")

    def __init__(self, source: Any, parent: _Node | None = None, key: str | int = "") -> None:
        self.source = source
        self.parent = parent
        self.key = key
        self.depth: int = parent.depth + 1 if parent else 1
        self.copy = COPIES[type(source)](source)
        if self.depth > MAX_DEPTH:
            raise self._too_deep()
        if type(source) is dict:
            self._check_keys()

    def encode(self, encoders: Encoders) -> list[_Node]:
        """Encode the values in the copy, and return the dicts and lists among them."""
        children = []
        for key, value in _items(self.copy):
            kind = type(value)
            if kind in AS_THEY_ARE:
                continue
            if kind in COPIES:
                child = _Node(value, self, key)
                self.copy[key] = child.copy
                children.append(child)
                continue
            encoder = encoders.get(kind)
            if encoder is None:
                raise self._error(key, _why_not(kind, encoders))
            try:
                self.copy[key] = encoder(value)
            except Unserializable as error:
                raise self._error(key, str(error)) from None
        return children

    def _check_keys(self) -> None:
        # Nearly all keys are plain and pass this test.
        if {*map(type, self.copy)} <= ONLY_STR and "".join(self.copy).isascii():
            return
        for key in self.copy:
            if type(key) is not str:
                raise self._error(
                    None,
                    f"it has a key that is {_a(type(key))}, but keys are str; store str(key)",
                )
            try:
                checked_text(key)
            except Unserializable as error:
                raise self._error(key, f"in its key, {error}") from None

    def _too_deep(self) -> UnserializableState:
        """Return the error for a container that is nested too deep or contains itself."""
        above: set[int] = set()
        for node in reversed([*self._lineage()]):
            if id(node.source) in above:
                return node._error(None, "it contains itself")
            above.add(id(node.source))
        return self._error(None, f"it is nested more than {MAX_DEPTH} deep")

    def _error(self, key: str | int | None, problem: str) -> UnserializableState:
        """Return the error for the value under a key, or for this container itself."""
        steps = [node.key for node in self._lineage() if node.parent][::-1]
        return UnserializableState(_path(steps if key is None else [*steps, key]), problem)

    def _lineage(self) -> Iterator[_Node]:
        node: _Node | None = self
        while node:
            yield node
            node = node.parent


def _path(steps: list[str | int]) -> str:
    """Return a path such as ``state["items"][3].price``."""
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
    # json escapes lone surrogates, which can't be printed.
    return f"[{json.dumps(key, ensure_ascii=not key.isprintable())}]"


def _why_not(kind: type, encoders: Encoders) -> str:
    if issubclass(kind, Enum):
        return f"it is {_a(kind)}, an enum; store its value"
    for base in kind.__mro__:
        if base in COPIES or base in encoders:
            plain = f"would come back as a plain {COPIES.get(base, base).__name__}"
            return f"it is {_a(kind)} and {plain}; store {PLAIN_ONE.get(base, 'a plain one')}"
    return f"it is {_a(kind)}; store {_instead_of(kind)}"


def _instead_of(kind: type) -> str:
    """Return what to store in place of a value of a type that can't be stored."""
    for base in kind.__mro__:
        instead = INSTEAD.get(f"{base.__module__}.{base.__qualname__}")
        if instead is not None:
            return instead
    if dataclasses.is_dataclass(kind):
        return "dataclasses.asdict(it)"
    has_attributes = any("__dict__" in vars(base) for base in kind.__mro__)
    return "a dict of what it is made of" if has_attributes else "str(it), or its parts"


def _a(kind: type) -> str:
    """Return the name of a type with its article."""
    name = type_name(kind)
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"
