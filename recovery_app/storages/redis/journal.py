"""The journal on Redis: one sorted set, by the time of each incident.

A member is the incident's uid followed by its JSON, so that incidents of the same microsecond have
an order, and one that is sent again is stored once. It is one key, so it is on one node of a
Cluster; it expires when its newest incident is too old.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeVar

from recovery_app.storages.journal import (
    IncidentCursor,
    Needles,
    cursor_of,
    decode_incident,
    encode_incident,
    page_of,
)
from recovery_app.storages.redis.requests import Command, CommandSpec, Request
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits

Result = TypeVar("Result")
UID_LENGTH = 16
CHUNK = 500
"""How many incidents are read at once."""

# Not as writes: no replica has to have an incident before the next one.
ADD = CommandSpec(name="ZADD", operation="journal", writes=False)
EXPIRE = CommandSpec(name="PEXPIRE", operation="journal", writes=False)
REMOVE_BY_RANK = CommandSpec(name="ZREMRANGEBYRANK", operation="journal", writes=False)
REMOVE_BY_AGE = CommandSpec(name="ZREMRANGEBYSCORE", operation="journal", writes=False)
READ = CommandSpec(name="ZRANGE", operation="listing", writes=False)


def name_of(prefix: str) -> bytes:
    """Return the name of the key, which listings of snapshots skip."""
    return f"{prefix}journal".encode()


def additions(
    key: bytes, incidents: Sequence[Incident], limits: JournalLimits
) -> Iterator[Request[int]]:
    """Yield the requests that store incidents and remove those over the limits."""
    members: list[Any] = []
    for incident in incidents:
        members += [incident.at_us, incident.uid.encode() + encode_incident(incident).encode()]
    yield Request(ADD, key, tuple(members), sum(map(len, members[1::2])))
    yield from removals(key, limits)
    yield Request(EXPIRE, key, (round(limits.max_age_seconds * 1000),))


def removals(key: bytes, limits: JournalLimits) -> Iterator[Request[int]]:
    """Yield the requests that remove incidents over the limits; each returns how many."""
    yield Request(REMOVE_BY_AGE, key, ("-inf", f"({limits.oldest_us}"))
    yield Request(REMOVE_BY_RANK, key, (0, -limits.max_entries - 1))


def find(
    key: bytes, query: IncidentQuery
) -> Generator[Request[list[bytes]], list[bytes], IncidentPage]:
    """Return a page of incidents: yield each request, and receive its reply."""
    behind = IncidentCursor.read(query.cursor)
    needles = Needles(query)
    found: list[Incident] = []
    for offset in range(0, 2**31, CHUNK):
        members = yield Request(READ, key, _range_of(query, behind, offset))
        texts = (member[UID_LENGTH:] for member in members)
        incidents = (decode_incident(text) for text in texts if needles.may_be_in(text))
        found += [
            incident
            for incident in incidents
            if incident is not None
            and query.admits(incident)
            and (behind is None or cursor_of(incident) < behind)
        ]
        if len(members) < CHUNK or len(found) > query.limit:
            break
    return page_of(found, query.limit)


def following(flow: Generator[Request[Any], Any, Result], reply: Any) -> Request[Any] | Result:
    """Return the next request of a flow, or its result."""
    try:
        return flow.send(reply)
    except StopIteration as stop:
        result: Result = stop.value
        return result


def _range_of(query: IncidentQuery, behind: IncidentCursor | None, offset: int) -> Command:
    latest = "+inf" if query.until_us is None else f"({query.until_us}"
    if behind is not None:
        latest = str(behind.at_us)
    return (latest, query.since_us, "BYSCORE", "REV", "LIMIT", offset, CHUNK)
