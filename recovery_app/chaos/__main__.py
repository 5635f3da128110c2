"""The command line interface: ``python -m recovery_app.chaos``."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from recovery_app.chaos.compare import Comparer
from recovery_app.chaos.consent import module_of, require_consent
from recovery_app.chaos.options import PORT, parse
from recovery_app.chaos.plan import Kind, Plan
from recovery_app.chaos.processes import HOST, Process, free_port
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.publishers import Publishing
from recovery_app.chaos.run import MIN_EVENTS, Setup, run
from recovery_app.chaos.scripted_client import require_websockets
from recovery_app.chaos.scripts import BadScript, Line, load
from recovery_app.chaos.storages import failing_over, stopping
from recovery_app.chaos.storm import FaultAction, Storm, format_counts

Faults: TypeAlias = Mapping[str, FaultAction]

EXIT_EQUAL, EXIT_DIFFERENT, EXIT_ERROR = 0, 1, 2
MAX_DIFFERENCES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the kit; return 0 if nothing differs, 1 if something does, and 2 after an error."""
    options = parse(arguments)
    try:
        return _run(options)
    except (BadScript, ImportError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_ERROR


def _run(options: argparse.Namespace) -> int:
    plan = Plan.make(options.seed, {kind: getattr(options, kind.name) for kind in Kind})
    _print(str(plan) if options.show_plan else f"seed {plan.seed}")
    script = None if options.seconds else _load_script(options)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = options.logs or scratch
        logs.mkdir(parents=True, exist_ok=True)
        redis = _redis(options, logs, scratch)
        env = {"REDIS_URL": f"redis://{HOST}:{redis.port}/0"} if redis else {}
        nodes = [_node(number, text, logs, env) for number, text in enumerate(options.node, 1)]
        if redis:
            stack.enter_context(redis)
        if not options.yes:
            require_consent(options.node, env)
        for node in nodes:
            stack.enter_context(node)
        also: dict[str, FaultAction] = {}
        if redis:
            also[Kind.REDIS_STOP] = stopping(redis)
        if options.failover:
            also[Kind.FAILOVER] = failing_over(options.failover)
        if script is None:
            return asyncio.run(_run_proxy(options, plan, nodes, also))
        publishing = _publishing(options, env)
        return asyncio.run(_run_script(options, plan, nodes, also, script, publishing))


def _load_script(options: argparse.Namespace) -> list[Line]:
    require_websockets()
    script = load(options.script)
    options.events = options.events or len(script)
    if options.events < MIN_EVENTS:
        raise BadScript(
            f"{options.events} events are too few. "
            f"Use --events {MIN_EVENTS} or more to repeat the script."
        )
    return script


async def _run_proxy(
    options: argparse.Namespace, plan: Plan, nodes: Sequence[Process], also: Faults
) -> int:
    """Apply faults to any connection through the proxy for some time."""
    async with Proxy([node.port for node in nodes], port=options.port) as proxy:
        _print(f"the proxy is at {proxy.url} for {options.seconds:g} seconds")
        storm = Storm(plan, proxy, nodes, also=also)
        await storm.run_for(options.seconds)
        _print(f"faults: {format_counts(storm.done)}")
    return EXIT_EQUAL


async def _run_script(
    options: argparse.Namespace,
    plan: Plan,
    nodes: Sequence[Process],
    also: Faults,
    script: Sequence[Line],
    publishing: Publishing | None,
) -> int:
    """Run the script without and with faults, and print the differences."""
    setup = Setup(
        nodes=nodes,
        path=options.path,
        topic=options.topic,
        script=script,
        clients=options.clients,
        events=options.events,
        params=options.params,
        headers=dict(options.header),
        also=also,
        comparer=Comparer(ignored=_ignored(options), applied=options.applied),
        publishing=publishing,
    )
    comparison, verdict = await run(setup, plan, _print)
    differences = [*comparison.differences, *(verdict.differences if verdict else ())]
    for difference in differences[:MAX_DIFFERENCES]:
        _print(difference)
    if verdict:
        _print(str(verdict))
        _print(
            f"pushes: {comparison.pushes} received, {comparison.missed} times told of missed ones"
        )
    _print(f"{comparison} (seed {plan.seed})")
    is_good = comparison.is_equal and (verdict is None or verdict.is_good)
    return EXIT_EQUAL if is_good else EXIT_DIFFERENT


def _ignored(options: argparse.Namespace) -> frozenset[str]:
    """Return the keys not to compare: the messages handled have a verdict of their own."""
    return frozenset(options.ignore + ([options.handled] if options.publishers else []))


def _publishing(options: argparse.Namespace, env: Mapping[str, str]) -> Publishing | None:
    if not options.publishers:
        return None
    module = module_of(options.node[0])
    if module is None:
        raise RuntimeError(
            f"The kit can't tell which application {options.node[0]!r} starts: with --publishers, "
            "a node is a plain call of uvicorn, daphne, hypercorn or granian."
        )
    return Publishing(
        module=module,
        message=options.message,
        handled=options.handled,
        publishers=options.publishers,
        messages=options.messages,
        groups=options.groups,
        group=options.group,
        env=env,
    )


def _node(number: int, text: str, logs: Path, env: Mapping[str, str]) -> Process:
    port = free_port()
    command = shlex.split(text.replace(PORT, str(port)))
    return Process(f"node {number}", command, port=port, log=logs / f"node-{number}.log", env=env)


def _redis(options: argparse.Namespace, logs: Path, home: Path) -> Process | None:
    if options.redis is None:
        return None
    port = free_port()
    command = shlex.split(options.redis.replace(PORT, str(port)))
    return Process("Redis", command, port=port, log=logs / "redis.log", cwd=home)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
