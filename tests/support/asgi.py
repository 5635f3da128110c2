"""Own real ASGI servers that run the example, or any other application."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import HOST, TOP, Process, free_port

EXAMPLE = "example_project.asgi:application"
EXAMPLE_ENV = {"DJANGO_SETTINGS_MODULE": "example_project.settings"}
"""pytest-django has put the suite's own settings into the environment."""

COMMANDS = {
    "uvicorn": ["uvicorn", "--host", HOST, "--timeout-graceful-shutdown", "3", "--port"],
    "daphne": ["daphne", "-b", HOST, "-p"],
}


class AsgiServer(Process):
    """One of `COMMANDS` on a port of its own; use it as a context manager."""

    def __init__(
        self,
        server: str = "uvicorn",
        *,
        directory: Path,
        application: str = EXAMPLE,
        env: Mapping[str, str] | None = None,
    ) -> None:
        port = free_port()
        super().__init__(
            server,
            [sys.executable, "-m", *COMMANDS[server], str(port), application],
            port=port,
            log=directory / f"{server}-{port}.log",
            env={**EXAMPLE_ENV, **(env or {})},
        )

    def __enter__(self) -> AsgiServer:
        self.start()
        return self

    @property
    def url(self) -> str:
        """Give the address for HTTP, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Give the address for WebSockets, without a slash at the end."""
        return f"ws://{HOST}:{self.port}"


def manage(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run ``manage.py`` as the example does and give what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=TOP,
        env={**os.environ, **EXAMPLE_ENV, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
