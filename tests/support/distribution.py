"""What ``pyproject.toml`` says, and the wheel that is built by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import TOP

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["EXTRAS", "GROUPS", "PROJECT", "for_developers", "for_users", "parsed", "run", "tomllib"]

PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
GROUPS = PYPROJECT["dependency-groups"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENT = re.compile(r"(?P<name>[\w-]+)(?P<extras>\[\w+\])?(?P<versions>>=(?P<lowest>[\d.]+))?")


def run(*command: str | Path, cwd: Path = TOP, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints; fail with its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def parsed(requirement: str) -> re.Match[str]:
    """Return the parts of a requirement."""
    match = REQUIREMENT.match(requirement)
    assert match
    return match


def for_users() -> list[str]:
    """Return all requirements of the package, with and without extras."""
    return [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]


def for_developers() -> list[str]:
    """Return all requirements of the groups."""
    return [line for lines in GROUPS.values() for line in lines if isinstance(line, str)]
