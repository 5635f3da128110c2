"""The Node.js scripts that speak to a server through the npm clients."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.needs import require
from tests.support.processes import TOP

PACKAGES = TOP / "node_modules"
RUN_SECONDS = 300


def require_node(*packages: str) -> None:
    """Leave the test out where Node.js or one of the npm packages isn't here."""
    require("Node.js", shutil.which("node"))
    for package in packages:
        require(f"the npm package {package} (npm ci)", (PACKAGES / package).is_dir())


def run_node(
    *arguments: str | Path, env: Mapping[str, str] | None = None, timeout: float = RUN_SECONDS
) -> str:
    """Run ``node`` at the top of the tree and give what it prints; fail with its errors."""
    done = subprocess.run(
        ["node", *map(str, arguments)],
        cwd=TOP,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"node ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
