"""What the suite's servers are started by: a fork that can't be told from a start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.processes import TOP, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Others start without a fork.")
SECONDS = 120


def start(statement: str, log: Path, **env: str) -> warm.Forked:
    with log.open("ab") as output:
        return warm.start(
            "timeit", "-n1", "-r1", statement, env={**os.environ, **env}, output=output
        )


def test_a_program_has_its_own_environment_log_and_status(tmp_path: Path) -> None:
    one = start("import os; print(os.environ['WHO'])", tmp_path / "one", WHO="one")
    two = start("import os; print(os.environ['WHAT'])", tmp_path / "two", WHO="two")
    assert (one.wait(SECONDS), two.wait(SECONDS)) == (0, 1)
    assert (tmp_path / "one").read_text().startswith("one\n")
    assert "KeyError: 'WHAT'" in (tmp_path / "two").read_text()
    assert one.poll() == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)]
)
def test_signals_reach_it_as_ever(tmp_path: Path, number: signal.Signals, status: int) -> None:
    log = tmp_path / "log"
    running = start("import time; print('ready', flush=True); time.sleep(600)", log)
    wait_until(lambda: "ready" in log.read_text(), SECONDS, "it doesn't start")
    assert running.poll() is None
    assert os.getsid(running.pid) == running.pid
    running.send_signal(number)
    assert running.wait(SECONDS) == status
    running.send_signal(number)


def test_nothing_outlives_tests_that_were_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from tests.support import warm; "
        "output = open(sys.argv[1], 'wb'); "
        "print(warm.start('timeit', '-n1', 'import time; time.sleep(600)', "
        "env=os.environ, output=output).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "log"], cwd=TOP, stdout=subprocess.PIPE, check=False
    ).stdout
    gone = Path(f"/proc/{int(printed)}")
    wait_until(lambda: not gone.exists(), SECONDS, "it goes on")


@pytest.mark.parametrize("name", ["PYTHONPATH", "PROMETHEUS_MULTIPROC_DIR"])
def test_what_is_read_but_once_rules_it_out(name: str) -> None:
    assert warm.suits(os.environ)
    assert not warm.suits({**os.environ, name: "another"})
