"""The question that comes before faults hit a storage that isn't the kit's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

PROBE = "recovery_app.chaos.probe"
PROBE_SECONDS = 60
SERVERS = {"daphne", "granian", "hypercorn", "uvicorn"}
_APPLICATION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*")
_CHANGE_SETTINGS = ("--app-dir", "--env", "--working-dir")


def require_consent(commands: Iterable[str], env: Mapping[str, str]) -> None:
    """Return if the nodes' storage is one for tests, or the user agrees; else `RuntimeError`.

    ``commands`` start the nodes, with ``env`` beside the environment of this process.
    """
    reasons = list(dict.fromkeys(find_reasons(commands, env)))
    if not reasons:
        return
    text = "The storage may not be one for tests alone:\n" + "".join(
        f"- {reason}\n" for reason in reasons
    )
    if sys.stdin is None or not sys.stdin.isatty():
        raise RuntimeError(f"{text}Use --yes to run against it all the same.")
    sys.stdout.write(text)
    sys.stdout.flush()
    if input("Write events to it and kill its clients? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise RuntimeError("Nothing was done.")


def find_reasons(commands: Iterable[str], env: Mapping[str, str]) -> Iterator[str]:
    """Yield why the storage of nodes may not be one for tests alone."""
    for command in dict.fromkeys(commands):
        module = module_of(command)
        if module is None:
            yield f"the kit can't tell which storage a node uses that is started by {command!r}"
        else:
            yield from _probe(module, env)


def module_of(command: str) -> str | None:
    """Return the module of the application that a command serves, or ``None`` if it isn't plain.

    It is plain if a known server is started with the environment and directory of this process.
    """
    words = shlex.split(command)
    if len(words) > 2 and PurePath(words[0]).name.startswith("python") and words[1] == "-m":
        words = words[2:]
    if not words or PurePath(words[0]).name not in SERVERS:
        return None
    if any(word.startswith(_CHANGE_SETTINGS) for word in words):
        return None
    found = [match[1] for match in map(_APPLICATION.fullmatch, words[1:]) if match]
    return found[0] if len(found) == 1 else None


def _probe(module: str, env: Mapping[str, str]) -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603 - the module is one that the nodes import too
            [sys.executable, "-m", PROBE, module],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
        )
        *_, answer = done.stdout.rpartition(f"{PROBE}:")
        reasons: list[str] = json.loads(answer)
    except (subprocess.SubprocessError, ValueError) as error:
        return [f"the kit can't tell which storage {module} uses ({type(error).__name__})"]
    return reasons
