"""The options of ``python -m recovery_app.chaos``."""

from __future__ import annotations

import argparse
import json
import random
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from recovery_app.chaos.plan import Kind

Number = TypeVar("Number", int, float)

PORT = "{port}"
FAULTS = {
    Kind.CUT: (20, "connections that are reset"),
    Kind.HALF_OPEN: (2, "connections that stop carrying data but aren't closed"),
    Kind.DELAY: (10, "connections that stall for up to 2 s"),
    Kind.LOST_JOIN: (5, "joins whose reply is dropped"),
    Kind.LOST_REPLY: (10, "events whose reply is dropped"),
    Kind.DUPLICATE: (5, "joins that are replayed on another connection"),
    Kind.KILL: (4, "nodes killed with SIGKILL and restarted"),
    Kind.TERM: (2, "nodes stopped with SIGTERM and restarted"),
    Kind.STALL: (1, "nodes suspended with SIGSTOP for 15 s"),
    Kind.REDIS_STOP: (2, "stops of the --redis server, with SIGKILL or SIGTERM"),
    Kind.FAILOVER: (2, "runs of the --failover command"),
}
"""The default number of faults of each kind, and the help."""
REQUIRED_OPTIONS = {Kind.REDIS_STOP: "redis", Kind.FAILOVER: "failover"}
"""The option without which a kind of fault can't happen."""
DESCRIPTION = """\
Start nodes of your application behind a proxy, run a script of events without faults and again with
faults, and report whether any event was lost or applied twice. With --for there is no script: the
nodes stay available behind the proxy, for example for tests in a browser.
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; exit with a message if they are invalid.

    The number of faults of each kind is an attribute with the name of its `Kind`.
    """
    parser = argparse.ArgumentParser(prog="python -m recovery_app.chaos", description=DESCRIPTION)
    _add_servers(parser)
    _add_clients(parser)
    _add_publishers(parser)
    _add_run(parser)
    faults = parser.add_argument_group("number of faults of each kind")
    for kind, (default, text) in FAULTS.items():
        faults.add_argument(f"--{_plural(kind)}", dest=kind.name, type=count, metavar="N",
            help=f"{text} (default: {default})")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.script is None and options.seconds is None:
        parser.error("either --script FILE or --for SECONDS is required")
    if options.publishers and not (options.message and options.handled and options.script):
        parser.error("--publishers requires --script, --message and --handled")
    for kind, (default, _) in FAULTS.items():
        required = REQUIRED_OPTIONS.get(kind)
        is_possible = required is None or getattr(options, required) is not None
        if getattr(options, kind.name) is None:
            setattr(options, kind.name, default if is_possible else 0)
        elif getattr(options, kind.name) and not is_possible:
            parser.error(f"--{_plural(kind)} requires --{required} COMMAND")
    return options


def _add_servers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--node", action="append", required=True, type=command_line, metavar="COMMAND",
        help="command that starts a node on {port}; repeat it for more nodes")  # fmt: skip
    add("--redis", type=command_line, metavar="COMMAND",
        help="command that starts a Redis on {port}; nodes get its URL in REDIS_URL")  # fmt: skip
    add("--failover", type=words, metavar="COMMAND",
        help="command that makes a Redis fail over, and exits with 0 when it has")  # fmt: skip
    add("--yes", action="store_true",
        help="don't ask before using a storage that may not be one for tests alone")  # fmt: skip
    add("--logs", type=Path, metavar="DIRECTORY", help="directory for the output of the servers")


def _add_clients(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--script", type=Path, metavar="FILE", help="events, one JSON object per line")
    add("--path", default="/ws/websocket", help="path of the WebSocket (default: %(default)s)")
    add("--topic", default="", help="topic that each client joins")
    add("--params", type=json_object, default={}, metavar="JSON", help="payload of each join")
    add("--header", type=header, action="append", default=[], metavar="'NAME: VALUE'",
        help="header of the opening request, such as a cookie; may be repeated")  # fmt: skip
    add("--clients", type=positive_int, default=20, metavar="N",
        help="number of clients (default: %(default)s)")  # fmt: skip
    add("--events", type=positive_int, metavar="N",
        help="number of events per client (default: the length of the script)")  # fmt: skip
    add("--ignore", action="append", default=[], metavar="KEY",
        help="key of replies and states whose value always differs; may be repeated")  # fmt: skip
    add("--applied", metavar="KEY",
        help="key of the join's response that lists the applied events")  # fmt: skip


def _add_publishers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("publishers to durable groups").add_argument
    add("--publishers", type=count, default=0, metavar="N",
        help="number of publishers (default: %(default)s)")  # fmt: skip
    add("--messages", type=positive_int, default=100, metavar="N",
        help="number of messages of each publisher (default: %(default)s)")  # fmt: skip
    add("--groups", type=positive_int, default=10, metavar="N",
        help="number of groups; each client is in two of them (default: %(default)s)")  # fmt: skip
    add("--group", default="chaos:{number}", metavar="NAME",
        help="name of each group (default: %(default)s)")  # fmt: skip
    add("--message", type=json_object, metavar="JSON", help="what is published, with an {id}")
    add("--handled", metavar="KEY",
        help="key of the join's response that lists the ids of the messages handled")  # fmt: skip


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--for", type=positive_float, dest="seconds", metavar="SECONDS",
        help="run no script, but apply faults to any connection for this time")  # fmt: skip
    add("--port", type=int, default=0, help="port of the proxy with --for (default: a free port)")
    add("--seed", type=int, default=random.SystemRandom().randrange(10**6), metavar="N",
        help="seed of the plan (default: random)")  # fmt: skip
    add("--show-plan", action="store_true", help="print each fault of the plan")


def _plural(kind: Kind) -> str:
    return "lost-replies" if kind is Kind.LOST_REPLY else f"{kind}s"


# Types of options. On a ValueError, argparse prints the name of the function and the value.


def command_line(text: str) -> str:
    if PORT not in text:
        raise argparse.ArgumentTypeError(f"no {PORT} in {text!r}")
    return text


def words(text: str) -> list[str]:
    found = shlex.split(text)
    if not found:
        raise ValueError
    return found


def json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError
    return name.strip(), value.strip()


def count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def positive_int(text: str) -> int:
    return _positive(int(text))


def positive_float(text: str) -> float:
    return _positive(float(text))


def _positive(value: Number) -> Number:
    if value <= 0:
        raise ValueError
    return value
