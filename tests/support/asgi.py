"""The real ASGI servers that run the example, or any other application."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from tests.support import warm
from tests.support.processes import HOST, TOP, Process, free_port

EXAMPLE = "example_project.asgi:application"
COMMANDS = {
    "uvicorn": ["uvicorn", "--host", HOST, "--timeout-graceful-shutdown", "3", "--port", "{port}"],
    "daphne": ["daphne", "-b", HOST, "-p", "{port}"],
    "gunicorn": [
        *("gunicorn", "--bind", HOST + ":{port}", "--log-level", "info"),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "20"),
    ],
}


def example_env(data: Path) -> dict[str, str]:
    """Return what the example needs; pytest-django has set the suite's own settings."""
    return {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DEMO_DATA": str(data)}


class AsgiServer(Process):
    """One of `COMMANDS` on a port of its own; use it as a context manager.

    ``data`` is the directory of the example's data, where the server's log goes too;
    ``arguments`` are further ones of the server's.
    """

    def __init__(
        self,
        server: str = "uvicorn",
        *,
        data: Path,
        application: str = EXAMPLE,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        port = free_port()
        command = [part.format(port=port) for part in COMMANDS[server]]
        super().__init__(
            server,
            [sys.executable, "-m", *command, *arguments, application],
            port=port,
            log=data / f"{server}-{port}.log",
            env={**example_env(data), **(env or {})},
        )

    def __enter__(self) -> AsgiServer:
        self.start()
        return self

    def _launch(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        _python, _m, module, *arguments = self.command
        # Gunicorn is a program that forks by itself, and it would have to clean up after another.
        if module == "gunicorn" or self.cwd != TOP or not warm.suits(self.env):
            return super()._launch(output)
        forked = warm.start(module, *arguments, env=self.env, output=output)
        return cast("subprocess.Popen[bytes]", forked)

    def ended(self, seconds: float) -> int:
        """Wait until it has ended by itself, and give its exit status."""
        assert self._popen is not None, f"{self.name} isn't running"
        return self._popen.wait(seconds)

    @property
    def url(self) -> str:
        """Return the address for HTTP, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Return the address for WebSockets, without a slash at the end."""
        return f"ws://{HOST}:{self.port}"


def manage(*arguments: str, data: Path) -> str:
    """Run ``manage.py`` on the example's data and give what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=TOP,
        env={**os.environ, **example_env(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
