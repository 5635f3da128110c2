"""Record the series of real outages, for the tests of the alerts: ``make outages``.

Each scenario has servers of its own. Its file is a test of promtool's: the series, and which
alerts are to fire at which time. Names of scenarios as arguments record these alone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.outages.scenarios import ON_BOTH, ON_POSTGRESQL, ON_REDIS
from tests.outages.site import PASSWORD, SETTINGS, USER, set_password
from tests.outages.trial import Trial
from tests.support.asgi import AsgiServer
from tests.support.databases import make_postgresql, program
from tests.support.processes import HOST, TOP
from tests.support.redis import make_redis
from tests.support.timelapse import run_tests

RECORDED = TOP / "tests/outages/recorded"
SCENARIOS = {**ON_REDIS, **ON_POSTGRESQL, **ON_BOTH}


def prepare(data: Path, **env: str) -> None:
    """Make the tables and the one user."""
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DEMO_DATA": str(data),
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        **env,
    }
    user = ["--noinput", "--username", USER, "--email", f"{USER}@example.com"]
    for arguments in (["migrate", "--verbosity", "0"], ["createsuperuser", *user]):
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=TOP, env=env, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def trial(name: str, home: Path) -> Iterator[Trial]:
    """Run the servers of a scenario."""
    data = home / "demo"
    data.mkdir()
    with ExitStack() as stack:

        def start(**options: Any) -> AsgiServer:
            return stack.enter_context(AsgiServer(data=data, **options))

        redis = postgresql = None
        env = {}
        if name not in ON_POSTGRESQL:
            redis = stack.enter_context(make_redis(home))
            set_password(redis)
        if name not in ON_REDIS:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-")))
            postgresql = stack.enter_context(make_postgresql(directory))
            createdb = str(program("createdb", "/usr/lib/postgresql/*/bin"))
            where = ["-h", HOST, "-p", str(postgresql.port), "-U", "recovery"]
            subprocess.run([createdb, *where, "recovery"], check=True)
            env["POSTGRESQL_PORT"] = str(postgresql.port)
        prepare(data, **env)
        yield Trial(start, data, redis=redis, postgresql=postgresql)


def record(name: str, promtool: str) -> None:
    """Record one scenario, and hold the alerts to what it expects of them."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="recovery-outage-") as home,
        trial(name, Path(home)) as made,
    ):
        asyncio.run(_carry_out(name, made))
    path = RECORDED / f"{name}.json"
    made.site.expected.write(made.site.recorder, path, name)
    run_tests(promtool, path)
    print(f"{name}: {time.monotonic() - began:.0f} s, {path.stat().st_size} bytes", flush=True)


async def _carry_out(name: str, made: Trial) -> None:
    await SCENARIOS[name](made)
    await made.site.cut()


def main(names: Sequence[str]) -> None:
    """Record scenarios, all by default."""
    promtool = shutil.which("promtool")
    if promtool is None:
        sys.exit("promtool isn't here; it comes with Prometheus.")
    for name in names or SCENARIOS:
        record(name, promtool)


if __name__ == "__main__":
    main(sys.argv[1:])
