"""Steps that call two storages, written once as generators and run blocking or awaiting."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from recovery_app.storages.base import Storage

Result = TypeVar("Result")
Call: TypeAlias = "tuple[Storage, str, tuple[Any, ...], dict[str, Any]]"
"""A storage, the name of its blocking method, and the arguments."""
Flow: TypeAlias = "Generator[Call, Any, Result]"
"""It yields the calls that it needs, and is sent what each returns or raises."""


def call(storage: Storage, method: str, *arguments: Any, **options: Any) -> Flow[Any]:
    """Make one call and return its result."""
    return (yield storage, method, arguments, options)


def run(flow: Flow[Result]) -> Result:
    """Run a flow with blocking calls."""
    try:
        storage, method, arguments, options = next(flow)
        while True:
            try:
                returned = getattr(storage, method)(*arguments, **options)
            except Exception as error:
                storage, method, arguments, options = flow.throw(error)
            else:
                storage, method, arguments, options = flow.send(returned)
    except StopIteration as stop:
        result: Result = stop.value
        return result


async def arun(flow: Flow[Result]) -> Result:
    """Run a flow with asynchronous calls."""
    try:
        storage, method, arguments, options = next(flow)
        while True:
            try:
                returned = await getattr(storage, "a" + method)(*arguments, **options)
            except Exception as error:
                storage, method, arguments, options = flow.throw(error)
            else:
                storage, method, arguments, options = flow.send(returned)
    except StopIteration as stop:
        result: Result = stop.value
        return result
