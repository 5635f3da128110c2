"""The Node.js process in which the pages of all examples live, one example after the other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recovery_app._core.tokens import TokenSigner
from recovery_app.consumers.identity import person_of
from tests.model.server import SECRET
from tests.support.node import PACKAGES
from tests.support.processes import TOP

PAGES = Path(__file__).with_name("pages.mjs")
RECOVERY_JS = TOP / "recovery_app" / "static" / "recovery_app" / "recovery.js"
PHOENIX = PACKAGES / "phoenix" / "priv" / "static" / "phoenix.cjs.js"


class Browser:
    """Return a command, and get what came of it, in order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def do(self, command: str, *words: Any) -> list[list[Any]]:
        self._in.write(json.dumps([command, *words]) + "\n")
        self._in.flush()
        answer = self._out.readline()
        if not answer:
            # No AssertionError: a recovery.js that can't be read breaks none of its rules.
            raise RuntimeError(f"The pages ended at {command}.")
        told: list[list[Any]] = json.loads(answer)
        return told


@contextmanager
def browser(source: Path = RECOVERY_JS) -> Iterator[Browser]:
    """Start the process with a recovery.js, and end it."""
    visitor = TokenSigner(SECRET).owner_of(person_of({}) or b"")
    command = ["node", str(PAGES), str(source), str(PHOENIX), visitor]
    with subprocess.Popen(
        command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Browser(process)
        finally:
            process.kill()
