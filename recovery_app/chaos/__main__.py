"""Own the command line: ``python -m recovery_app.chaos``."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from recovery_app.chaos.judge import Judge
from recovery_app.chaos.plan import Kind, Plan
from recovery_app.chaos.processes import HOST, Process, free_port
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import BadScript, load
from recovery_app.chaos.storages import failing_over, stopping
from recovery_app.chaos.storm import Act, Storm, told

Number = TypeVar("Number", int, float)
Work: TypeAlias = "Callable[[], Coroutine[Any, Any, int]]"

PORT = "{port}"

DEFAULTS = {
    Kind.CUT: 20,
    Kind.HALF_OPEN: 2,
    Kind.DELAY: 10,
    Kind.LOST_JOIN: 5,
    Kind.LOST_REPLY: 10,
    Kind.DUPLICATE: 5,
    Kind.KILL: 4,
    Kind.TERM: 2,
    Kind.STALL: 1,
    Kind.REDIS_STOP: 2,
    Kind.FAILOVER: 2,
}
NEEDS = {Kind.REDIS_STOP: "redis", Kind.FAILOVER: "failover"}
"""What must be given for a fault; without it there is none."""
WHAT = {
    Kind.CUT: "connections broken off",
    Kind.HALF_OPEN: "connections that carry nothing any more and aren't closed",
    Kind.DELAY: "connections that stand still for up to 2 s",
    Kind.LOST_JOIN: "joins whose reply is swallowed",
    Kind.LOST_REPLY: "events whose reply is swallowed",
    Kind.DUPLICATE: "joins that are replayed on another connection",
    Kind.KILL: "nodes killed (SIGKILL) and started again",
    Kind.TERM: "nodes ended (SIGTERM) and started again",
    Kind.STALL: "nodes stopped (SIGSTOP) for 15 s",
    Kind.REDIS_STOP: "stops of what --redis starts, by SIGKILL or SIGTERM",
    Kind.FAILOVER: "runs of what --failover says",
}
GOOD, BAD, USAGE = 0, 1, 2
SHOWN_DIFFERENCES = 20
DESCRIPTION = """\
Starts nodes of your application behind a proxy, runs a script of events through them without
faults and again with faults, and says whether any event was lost or applied twice. With --for
there is no script: the nodes stand behind the proxy, for tests in a browser of your own.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; give the exit status: 0 if nothing differs, else 1."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.script is None and options.seconds is None:
        parser.error("say --script FILE, or --for SECONDS")
    for kind, name in NEEDS.items():
        if getattr(options, kind.name) and getattr(options, name) is None:
            parser.error(f"--{_plural(kind)} needs --{name} COMMAND")
    try:
        return _run(options)
    except (BadScript, ImportError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    except KeyboardInterrupt:
        return USAGE


def _run(options: argparse.Namespace) -> int:
    plan = Plan.make(options.seed, {kind: _how_many(options, kind) for kind in Kind})
    _say(str(plan) if options.show_plan else f"seed {plan.seed}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = options.logs or scratch
        logs.mkdir(parents=True, exist_ok=True)
        redis = _redis(options, logs, scratch)
        env = {"REDIS_URL": f"redis://{HOST}:{redis.port}/0"} if redis else {}
        nodes = [_node(number, text, logs, env) for number, text in enumerate(options.node, 1)]
        prepare = _prepare_visits if options.seconds else _prepare_script
        work = prepare(options, plan, nodes, _also(options, redis))
        for server in filter(None, (redis, *nodes)):
            stack.enter_context(server)
        return asyncio.run(work())


def _how_many(options: argparse.Namespace, kind: Kind) -> int:
    count: int | None = getattr(options, kind.name)
    if count is None:
        count = DEFAULTS[kind] if getattr(options, NEEDS[kind]) else 0
    return count


def _also(options: argparse.Namespace, redis: Process | None) -> dict[str, Act]:
    """Give the faults of the storage."""
    acts: dict[str, Act] = {}
    if redis:
        acts[Kind.REDIS_STOP] = stopping(redis)
    if options.failover:
        acts[Kind.FAILOVER] = failing_over(options.failover)
    return acts


def _prepare_visits(
    options: argparse.Namespace, plan: Plan, nodes: Sequence[Process], also: Mapping[str, Act]
) -> Work:
    """Give the work: to let faults happen to whoever comes."""

    async def wait() -> int:
        async with Proxy([node.port for node in nodes], port=options.port) as proxy:
            _say(f"the proxy is at {proxy.url} for {options.seconds:g} seconds")
            storm = Storm(plan, proxy, nodes, also=also)
            await storm.blow_for(options.seconds)
            _say(f"faults: {told(storm.done)}")
        return GOOD

    return wait


def _prepare_script(
    options: argparse.Namespace, plan: Plan, nodes: Sequence[Process], also: Mapping[str, Act]
) -> Work:
    """Read the script, and give the work: to run it and to say what differs."""
    # It needs an optional dependency, of which nothing else here has need.
    from recovery_app.chaos.run import MIN_EVENTS, Setup, run  # noqa: PLC0415

    script = load(options.script)
    events = options.events or len(script)
    if events < MIN_EVENTS:
        raise BadScript(
            f"{events} events are too few: with --events {MIN_EVENTS} or more the script begins "
            "again as often as needed"
        )
    setup = Setup(
        nodes=nodes,
        path=options.path,
        topic=options.topic,
        script=script,
        clients=options.clients,
        events=events,
        params=options.params,
        headers=dict(options.header),
        also=also,
        judge=Judge(ignored=frozenset(options.ignore), applied=options.applied),
    )

    async def play() -> int:
        verdict = await run(setup, plan, _say)
        for difference in verdict.differences[:SHOWN_DIFFERENCES]:
            _say(difference)
        _say(f"{verdict} (seed {plan.seed})")
        return GOOD if verdict.is_good else BAD

    return play


def _node(number: int, text: str, logs: Path, env: Mapping[str, str]) -> Process:
    port = free_port()
    command = shlex.split(text.replace(PORT, str(port)))
    return Process(f"node {number}", command, port=port, log=logs / f"node-{number}.log", env=env)


def _redis(options: argparse.Namespace, logs: Path, home: Path) -> Process | None:
    """Give the Redis that the kit is to run; what it writes goes with the run."""
    if options.redis is None:
        return None
    port = free_port()
    command = shlex.split(options.redis.replace(PORT, str(port)))
    return Process("Redis", command, port=port, log=logs / "redis.log", cwd=home)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recovery_app.chaos", description=DESCRIPTION)
    add = parser.add_argument
    add("--node", action="append", required=True, type=_command, metavar="COMMAND",
        help="starts a node on {port}; say it again for each further node")  # fmt: skip
    add("--redis", type=_command, metavar="COMMAND",
        help="starts a Redis on {port}, which the nodes are told in REDIS_URL")  # fmt: skip
    add("--failover", type=_words, metavar="COMMAND",
        help="has a Redis of yours fail over, and ends with 0 when that is over")  # fmt: skip
    add("--script", type=Path, metavar="FILE", help="events, one JSON object a line")
    add("--for", type=_seconds, dest="seconds", metavar="SECONDS",
        help="run no script, but let faults happen to whoever comes through the proxy")  # fmt: skip
    add("--port", type=int, default=0, help="of the proxy with --for (default: a free one)")
    add("--path", default="/ws/websocket", help="of the WebSocket (default: %(default)s)")
    add("--topic", default="", help="that each client joins")
    add("--params", type=_object, default={}, metavar="JSON", help="the payload of each join")
    add("--header", type=_header, action="append", default=[], metavar="'NAME: VALUE'",
        help="of the opening request, such as a cookie; may be said again")  # fmt: skip
    add("--clients", type=_positive, default=20, metavar="N", help="(default: %(default)s)")
    add("--events", type=_positive, metavar="N", help="of each client (default: the script once)")
    add("--ignore", action="append", default=[], metavar="KEY",
        help="of replies and state, that differs by nature; may be said again")  # fmt: skip
    add("--applied", metavar="KEY",
        help="of the join's response, with the list of what was applied")  # fmt: skip
    add("--seed", type=int, default=random.SystemRandom().randrange(10**6), metavar="N",
        help="of the plan (default: another one each time)")  # fmt: skip
    add("--show-plan", action="store_true", help="print each fault of the plan")
    add("--logs", type=Path, metavar="DIRECTORY", help="where the output of the nodes is kept")
    faults = parser.add_argument_group("how many faults of each kind")
    for kind in Kind:
        faults.add_argument(
            f"--{_plural(kind)}",
            dest=kind.name,
            type=_count,
            default=None if kind in NEEDS else DEFAULTS[kind],
            metavar="N",
            help=f"{WHAT[kind]} (default: {DEFAULTS[kind]})",
        )
    return parser


def _plural(kind: Kind) -> str:
    return "lost-replies" if kind is Kind.LOST_REPLY else f"{kind}s"


# Values


def _command(text: str) -> str:
    if PORT not in text:
        raise argparse.ArgumentTypeError(f"no {PORT} in {text!r}")
    return text


def _words(text: str) -> list[str]:
    words = shlex.split(text)
    if not words:
        raise ValueError
    return words


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError
    return name.strip(), value.strip()


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError
    return count


def _positive(text: str) -> int:
    return _above_zero(int(text))


def _seconds(text: str) -> float:
    return _above_zero(float(text))


def _above_zero(value: Number) -> Number:
    if value <= 0:
        raise ValueError
    return value


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
