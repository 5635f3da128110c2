"""Each rule of the server that `make model` breaks is still where its mutant breaks it.

A mutant of something that was moved, or is called in another way, breaks nothing: then nobody
knows any more whether the model would notice.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import pytest

from tests.model import mutants, mutants_sent
from tests.model.browser import browser
from tests.model.examples import EXAMPLES, follow

SERVER = (*mutants.SERVER, *mutants_sent.SERVER)
Place = tuple[Any, str]


@dataclass(slots=True)
class Places:
    """What mutants would replace, and by what. It takes the place of pytest's monkeypatch."""

    found: list[tuple[Place, Any, bool]] = field(default_factory=list)

    def setattr(self, owner: Any, name: str, new: Any, raising: bool = True) -> None:
        self.found.append(((owner, name), new, raising))


def places_of(mutant: mutants.Patch) -> list[tuple[Place, Any, bool]]:
    places = Places()
    mutant(places)
    return places.found


@functools.cache
def calls_made() -> dict[Place, list[tuple[Any, Any]]]:
    """Run all examples with nothing broken; return the calls of what mutants replace."""
    made: dict[Place, list[tuple[Any, Any]]] = {}
    with pytest.MonkeyPatch.context() as patch, browser() as pages:
        for mutant in SERVER:
            for place, _, _ in places_of(mutant):
                if place not in made and hasattr(*place):
                    made[place] = []
                    watch(patch, place, made[place])
        for example in EXAMPLES:
            follow(pages, example)
    return made


def watch(patch: pytest.MonkeyPatch, place: Place, calls: list[tuple[Any, Any]]) -> None:
    """Note the calls of a function, or the reads of a property."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append((arguments, options))
            return function(*arguments, **options)

        return call

    old = inspect.getattr_static(*place)
    if isinstance(old, FunctionType):
        patch.setattr(*place, watched(old))
    elif isinstance(old, property) and old.fget:
        patch.setattr(*place, property(watched(old.fget)))


@pytest.mark.parametrize("mutant", SERVER, ids=lambda mutant: mutant.__name__)
def test_a_rule_of_the_server_can_be_broken(mutant: mutants.Patch) -> None:
    places = places_of(mutant)
    assert places
    for place, new, is_there in places:
        if not is_there:
            # Each object has one of its own.
            assert hasattr(place[0](), place[1])
            continue
        old = inspect.getattr_static(*place)
        if not isinstance(old, (FunctionType, property)):
            assert type(old) is type(new)
            assert old != new
            continue
        function: Any = new.fget if isinstance(new, property) else new
        calls = calls_made()[place]
        assert calls, f"Nothing calls {place[1]} any more."
        for arguments, options in calls:
            inspect.signature(function).bind(*arguments, **options)
