"""The options of the storage: an alias, a URL, Sentinels or a Cluster, and limits."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.core.cache import caches
from django.utils.module_loading import import_string
from redis import asyncio as aioredis
from redis import connection as sync_connections
from redis.asyncio import connection as async_connections

from recovery_app.storages.redis.topology import Address, Topology

SYNC_CLASSES: Mapping[str, Any] = {
    "tcp": sync_connections.Connection,
    "ssl": sync_connections.SSLConnection,
    "unix": sync_connections.UnixDomainSocketConnection,
}
ASYNC_CLASSES: Mapping[str, Any] = {
    "tcp": aioredis.Connection,
    "ssl": aioredis.SSLConnection,
    "unix": aioredis.UnixDomainSocketConnection,
}
DEFAULT_PORT = 6379
# Set here alone: redis-py's retries would outlast the timeout, and replies stay bytes.
_IGNORED = {"retry", "retry_on_timeout", "retry_on_error", "decode_responses", "parser_class"}
_POOLS: Mapping[str, Any] = {"max_connections": int, "timeout": float}
"""Options in a URL that are a pool's, not a connection's."""
_TIMEOUTS = {"socket_timeout": None, "socket_connect_timeout": None}
"""For event loops, where one timeout covers all that a connection does."""
_DEFAULT_TIMEOUT_SINCE = 8
"""The series of redis-py since which a connection has a timeout by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds for a call, and connections to each server: of blocking calls, of an event loop."""

    timeout: float
    max_connections: int
    lanes: int


def limits_of(url: str | None, timeout: float, max_connections: int, lanes: int) -> Limits:
    """Return the limits; those of redis-py's pools in a URL come first."""
    found = _parse(url) if url is not None else {}
    in_url = {name: parse(found[name]) for name, parse in _POOLS.items() if name in found}
    return Limits(**{"timeout": timeout, "max_connections": max_connections, **in_url}, lanes=lanes)


def topology_of_options(
    *, cache: str | None, cluster: bool, arguments: Mapping[str, Any], **server: Any
) -> Topology | None:
    """Return the topology, or ``None`` for that of a cache; raise `ValueError` for a bad mix."""
    if cache is None:
        return _topology_of(**server, cluster=cluster, arguments=arguments)
    if cluster or arguments or any(value is not None for value in server.values()):
        raise ValueError(f"The connection comes from the cache: set it at {cache!r} in CACHES.")
    if cache not in caches.settings:
        raise ValueError(f"CACHES has no alias {cache!r}.")
    if not hasattr(import_string(caches.settings[cache]["BACKEND"]), "client"):
        raise ValueError(f"The cache {cache!r} isn't one of django-redis: use CacheStorage.")
    return None


def _topology_of(
    *,
    url: str | None,
    sentinels: Sequence[Address] | None,
    service_name: str | None,
    cluster: bool,
    startup_nodes: Sequence[Address] | None,
    sentinel_kwargs: Mapping[str, Any] | None,
    arguments: Mapping[str, Any],
) -> Topology:
    if (service_name is None) != (sentinels is None):
        raise ValueError('"sentinels" and "service_name" go together.')
    if startup_nodes is not None and not cluster:
        raise ValueError('"startup_nodes" are for a Cluster: add "cluster": True.')
    if [url, sentinels, startup_nodes].count(None) != 2:
        raise ValueError('Set one of "cache", "url", "sentinels" and "startup_nodes".')
    if not (url or sentinels or startup_nodes):
        raise ValueError("No server is given: the option is empty.")
    kind, address, found = _from_url(url) if url is not None else ("tcp", None, {})
    found.update(arguments)
    if found.pop("ssl", False):
        kind = "ssl"
    if cluster and found.pop("db", 0):
        raise ValueError("A Cluster has only database 0.")
    nodes = [address] if address else sentinels or startup_nodes or ()
    seed_kind, seed_arguments = kind, found
    if sentinels:
        seed_arguments = dict(sentinel_kwargs or {})
        seed_kind = "ssl" if seed_arguments.pop("ssl", False) else "tcp"
    return Topology(
        seeds=tuple((host, int(port)) for host, port in nodes),
        kind=kind,
        arguments=_validated(kind, _without_ignored(found)),
        seed_kind=seed_kind,
        seed_arguments=_validated(seed_kind, _without_ignored(seed_arguments)),
        service=service_name,
        cluster=cluster,
    )


def topology_of_pool(pool: Any) -> Topology:
    """Return how a pool of redis-py connects, to do the same from an event loop."""
    arguments = dict(pool.connection_kwargs)
    kind = _kind_of(pool.connection_class)
    allowed = _known_arguments(ASYNC_CLASSES[kind])
    manager = getattr(pool, "sentinel_manager", None)
    place = arguments.pop("host", "localhost"), int(arguments.pop("port", DEFAULT_PORT))
    if kind == "unix":
        place = arguments.pop("path"), 0
    found = _without_ignored({name: value for name, value in arguments.items() if name in allowed})
    if manager is None:
        return Topology(seeds=(place,), kind=kind, arguments=found)
    pools = [sentinel.connection_pool for sentinel in manager.sentinels]
    return Topology(
        seeds=tuple(
            (each.connection_kwargs["host"], int(each.connection_kwargs["port"])) for each in pools
        ),
        kind=kind,
        arguments=found,
        seed_kind=_kind_of(pools[0].connection_class),
        seed_arguments=_without_ignored(
            {
                name: value
                for name, value in pools[0].connection_kwargs.items()
                if name in allowed - {"host", "port"}
            }
        ),
        service=pool.service_name,
    )


def pool_of_alias(alias: str) -> Any:
    """Return the pool of a django-redis cache."""
    cache: Any = caches[alias]
    return cache.client.get_client(write=True).connection_pool


def connection_arguments(
    address: Address, kind: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a connection to an address."""
    host, port = address
    return {**arguments, **({"path": host} if kind == "unix" else {"host": host, "port": port})}


def connect_async(address: Address, kind: str, arguments: Mapping[str, Any]) -> Any:
    """Return a connection for an event loop, not connected yet."""
    return ASYNC_CLASSES[kind](**{**connection_arguments(address, kind, arguments), **_TIMEOUTS})


def check_options(prefix: str, wait_replicas: int, wait_timeout: float, limits: Limits) -> None:
    """Raise `ValueError` for a bad prefix, number or time."""
    if not isinstance(prefix, str) or "{" in prefix or "}" in prefix:
        raise ValueError("prefix must be a string without braces, which a Cluster uses.")
    counts = wait_replicas, limits.max_connections, limits.lanes
    if not all(isinstance(each, int) for each in counts):
        raise ValueError("wait_replicas, max_connections and lanes must be whole numbers.")
    if wait_replicas < 0 or min(limits.max_connections, limits.lanes) < 1:
        raise ValueError("wait_replicas must be at least 0, max_connections and lanes at least 1.")
    timeout = limits.timeout
    if not (0 < wait_timeout < math.inf and 0 < timeout < math.inf):
        raise ValueError("timeout and wait_timeout must be finite numbers of seconds above 0.")
    if wait_replicas and wait_timeout >= timeout:
        raise ValueError("wait_timeout must be shorter than timeout.")


def _parse(url: str) -> dict[str, Any]:
    try:
        return {**async_connections.parse_url(url)}
    except ValueError as error:
        if "scheme" in str(error):
            raise
    # Not the error itself: it quotes what may be a part of a password.
    raise ValueError("The url can't be parsed: a password in it has to be percent-encoded.")


def _from_url(url: str) -> tuple[str, Address, dict[str, Any]]:
    found = _parse(url)
    for name in _POOLS:
        found.pop(name, None)
    kind = _kind_of(found.pop("connection_class", ASYNC_CLASSES["tcp"]))
    if kind == "unix":
        return kind, (str(found.pop("path")), 0), found
    host = str(found.pop("host", "localhost"))
    return kind, (host, cast("int", found.pop("port", DEFAULT_PORT))), found


def _kind_of(connection_class: type[Any]) -> str:
    for kind in ("unix", "ssl"):
        if issubclass(connection_class, (SYNC_CLASSES[kind], ASYNC_CLASSES[kind])):
            return kind
    return "tcp"


def _validated(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments; raise `ValueError` for any that such connections don't take."""
    known = _known_arguments(SYNC_CLASSES[kind]) & _known_arguments(ASYNC_CLASSES[kind])
    unknown = sorted(arguments.keys() - known)
    if unknown:
        raise ValueError(f"redis-py's {kind} connections don't accept {', '.join(unknown)}.")
    return arguments


def _without_ignored(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"protocol": 2} | {
        name: value for name, value in arguments.items() if name not in _IGNORED
    }


def _known_arguments(connection_class: type[Any]) -> set[str]:
    return {
        name
        for each in connection_class.__mro__
        if "__init__" in vars(each)
        for name in inspect.signature(each).parameters
    } - {"maint_notifications_pool_handler", "event_dispatcher", "redis_connect_func"}
