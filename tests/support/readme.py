"""The code of README and tutorial, and what a newcomer does with it: paste it where it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import HOST, TOP, Process, free_port

Blocks = list[tuple[str, str]]


def blocks_of(text: str) -> Blocks:
    """Return the language and the code of each block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


TEXT = (TOP / "README.md").read_text()
BLOCKS = blocks_of(TEXT)
TUTORIAL = blocks_of((TOP / "docs/tutorial.md").read_text())
FILE = re.compile(r"(?:#|<!--) (\w+/\S+)")
ADDED_TO = ("settings.py", "urls.py")
"""The files of which the texts say that a block goes to their end."""
INSTALL_SECONDS = 300
UNKNOWN = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables of the test's own environment that a newcomer doesn't have."""


def block(language: str, first: str = "", blocks: Blocks = BLOCKS) -> str:
    """Return the one block in a language that begins with a text."""
    (found,) = [code for kind, code in blocks if kind == language and code.startswith(first)]
    return found


def commands(row: str) -> list[str]:
    """Return the commands in a row of the table "Serve it"."""
    (line,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", TEXT, flags=re.MULTILINE)
    return re.findall(r"`([^`]+)`", line)


@dataclass(frozen=True)
class Newcomer:
    """Somebody with an empty folder, a fresh Python, and the wheel in place of the index."""

    folder: Path
    wheel: Path
    name: str = "mysite"

    @property
    def project(self) -> Path:
        """Return the directory of ``manage.py``."""
        return self.folder / self.name

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of their terminal, which knows nothing of the test's."""
        mine = {name: value for name, value in os.environ.items() if name not in UNKNOWN}
        constraints = self.folder / "constraints.txt"
        constraints.write_text(f"django-recovery-app @ {self.wheel.as_uri()}\n")
        return {
            **mine,
            "PATH": os.pathsep.join(self.path()),
            # The name in the README's command then means the wheel.
            "PIP_CONSTRAINT": str(constraints),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def path(self) -> list[str]:
        """Return where commands are looked up: first in the environment that was activated."""
        return [*(str(self.folder / name / "bin") for name in ("venv", ".")), os.environ["PATH"]]

    def give_python(self) -> None:
        """Have ``python3`` mean the Python of this test, which isn't everybody's ``python3``."""
        command = self.folder / "bin" / "python3"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        command.chmod(0o755)

    def run(self, script: str, *, cwd: Path | None = None) -> str:
        """Run lines in a shell, and return their output; a line that fails ends them."""
        done = subprocess.run(
            ["/bin/sh", "-euc", script],
            cwd=cwd or self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def paste(self, blocks: Blocks) -> None:
        """Put each block that names a file into it."""
        for _, code in blocks:
            if (found := FILE.match(code)) is None:
                continue
            path = self.project / found[1]
            path.parent.mkdir(exist_ok=True)
            before = path.read_text() if path.name in ADDED_TO else ""
            path.write_text(before + code)

    def serve(self, command: str, log: Path) -> Process:
        """Return the server that a command of the README starts, on a free port."""
        port = free_port()
        address = f"{HOST}:{port}" if command.endswith("runserver") else f"--port {port}"
        return Process(
            command.split(maxsplit=1)[0],
            ["/bin/sh", "-c", f"unset {' '.join(UNKNOWN)}; exec {command} {address}"],
            port=port,
            log=log,
            env=self.env,
            cwd=self.project,
        )


def build_wheel(directory: Path) -> Path:
    """Build the package's wheel, and return its path."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(directory),
    ]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    (wheel,) = directory.glob("*.whl")
    return wheel
