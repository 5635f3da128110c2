"""The command line: the examples in the documentation, and error messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery_app.chaos.__main__ import main
from recovery_app.chaos.scripts import BadScript, Line, for_client, load
from tests.chaos.support import APPLICATION, Store, on_redis, script, sentinel_env
from tests.support import needs, redis
from tests.support.asgi import example_env
from tests.support.processes import TOP, wait_until

PAGE = (TOP / "docs" / "chaos.md").read_text()
SECONDS = 500
NO_STALL = "--cuts 5 --kills 1 --terms 0 --stalls 0 --half-opens 0 --delays 0"
NODE = (
    f"{sys.executable} -m uvicorn --port {{port}} --log-level error --timeout-graceful-shutdown 3 "
)


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the page, in a copy of the project's directory."""
    for name in ("manage.py", "example_project"):
        link = directory / name
        if not link.exists():
            link.symlink_to(TOP / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **example_env(directory), "PATH": path, "PYTHONPATH": str(TOP)}
    return subprocess.run(
        ["bash", "-ec", re.sub(r"^\$ ", "", command, flags=re.MULTILINE)],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def pattern_for(text: str) -> str:
    """Return a pattern that matches an output with other times and ports."""
    pattern = re.escape(text.strip())
    pattern = re.sub(r"\d+\\\.\d+(?=\\ s\b)", r"[0-9.]+", pattern)
    return re.sub(r"(?<=1:)\d{5}", "[0-9]{5}", pattern)


@pytest.mark.slow
def test_the_page_s_example_finds_nothing_lost(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(blocks("text")[0])
    done = run(blocks("console")[1], tmp_path)
    assert re.fullmatch(pattern_for(blocks("text")[1]), done.stdout.strip()), (
        done.stdout + done.stderr
    )
    assert done.returncode == 0


def test_the_page_s_example_without_a_script_ends_in_time(tmp_path: Path) -> None:
    done = run(blocks("console")[-1], tmp_path)
    # A slow machine may not restart a node in time.
    pattern = re.sub(r"\d+(?=\\ (kill|term)\b)", r"\\d", pattern_for(blocks("text")[-1]))
    assert re.fullmatch(pattern, done.stdout.strip()), done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_the_page_s_example_on_redis_finds_nothing_lost(tmp_path: Path) -> None:
    needs.require("redis-server", redis.find_redis_server())
    (tmp_path / "events.jsonl").write_text(blocks("text")[0])
    done = run(blocks("console")[2], tmp_path)
    *_, faults, comparison = done.stdout.strip().splitlines()
    assert faults.endswith(", 2 redis-stop"), done.stdout + done.stderr
    assert comparison == "0 lost, 0 applied twice (seed 7)"
    assert done.returncode == 0


@pytest.mark.slow
def test_the_page_s_failover_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.require("redis-server", redis.find_redis_server())
    found = re.search(r'--failover "(.*)"$', blocks("console")[3], re.MULTILINE)
    assert found
    (tmp_path / "events.jsonl").write_text(lines(60))
    with redis.sentinels(tmp_path) as trio:
        first = trio.master
        for name, value in sentinel_env(trio).items():
            monkeypatch.setenv(name, value)
        port = str(trio.sentinels[0].port)
        failover = found[1].replace("26379", port).replace(" shop ", f" {redis.SERVICE} ")
        node = ["--node", NODE + APPLICATION]
        options = f"--topic ledger --applied applied --clients 4 --seed 3 {NO_STALL} --failovers 1"
        script = ["--script", str(tmp_path / "events.jsonl")]
        status = main([*node, *node, *script, *options.split(), "--failover", failover])
        # What the command begins may take longer than the rest of the run.
        wait_until(lambda: trio.master is not first, redis.SETTLE_SECONDS, "There was no failover.")
    *_, faults, comparison = capsys.readouterr().out.strip().splitlines()
    assert faults.endswith(", 1 failover")
    assert comparison == "0 lost, 0 applied twice (seed 3)"
    assert status == 0


def test_each_option_of_a_fault_is_on_the_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recovery_app.chaos", "--help"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    assert options == set(re.findall(r"`(--[a-z-]+)", PAGE))


# Faulty servers


def lines(events: int) -> str:
    return "\n".join(
        f'{{"event": "{line.event}", "payload": {{"number": {line.payload["number"]}}}}}'
        for line in script(events)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    needs.require("redis-server", redis.find_redis_server())
    with on_redis(tmp_path) as store:
        yield store


@pytest.mark.parametrize(
    ("flaw", "found"),
    [
        ("", r"^messages: 100 .*; 0 lost, 0 twice, 0 out of order\n(.*\n)?0 lost, 0 applied twice"),
        ("applies_repeats", r"^\d+ lost, [1-9]\d* applied twice \(seed 3\)$"),
        ("saves_later", r"^[1-9]\d* lost, \d+ applied twice \(seed 3\)$"),
        pytest.param("forgets_positions", r"lost, [1-9]\d* twice, ", marks=pytest.mark.slow),
        pytest.param("skips_messages", r"; [1-9]\d* lost, \d+ twice, ", marks=pytest.mark.slow),
        pytest.param("pushes_nothing_again", r"push \d+ came after push", marks=pytest.mark.slow),
    ],
)
def test_a_faulty_server_is_detected(
    tmp_path: Path,
    store: Store,
    flaw: str,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # What is lost doesn't come.
    monkeypatch.setattr("recovery_app.chaos.run.HANDLING_SECONDS", 5)
    file = tmp_path / "events.jsonl"
    file.write_text(lines(60))
    for name, value in {**store.env, "CHAOS_FLAW": flaw}.items():
        monkeypatch.setenv(name, value)
    options = f"--topic ledger --script {file} --applied applied --clients 4 --seed 3"
    groups = "--publishers 2 --messages 50 --groups 3 --handled handled --ignore told"
    message = ["--message", '{"type": "note.posted", "id": "{id}"}']
    message += ["--params", '{"groups": "{groups}"}']
    faults = "--cuts 25 --lost-replies 15 --kills 2 --terms 0 --stalls 0 --half-opens 0 --delays 0"
    nodes = ["--node", NODE + APPLICATION, "--node", NODE + APPLICATION]
    words = [*options.split(), *faults.split(), *groups.split(), *message]
    status = main([*nodes, *words, "--logs", str(tmp_path)])
    assert re.search(found, capsys.readouterr().out, re.MULTILINE)
    assert status == (1 if flaw else 0)


@pytest.mark.slow
def test_an_application_with_a_save_interval_loses_nothing(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(60))
    for name, value in {**store.env, "CHAOS_SAVE_INTERVAL": "0.3"}.items():
        monkeypatch.setenv(name, value)
    options = f"--topic ledger --script {file} --applied applied --clients 4 --seed 3 {NO_STALL}"
    node = ["--node", NODE + APPLICATION]
    assert main([*node, *node, *options.split(), "--lost-replies", "15", "--kills", "3"]) == 0
    assert "0 lost, 0 applied twice (seed 3)" in capsys.readouterr().out


# Errors


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--node"),
        (["--node", "uvicorn app --port 8000"], r"no {port}"),
        (["--node", "x {port}"], "either --script FILE or --for SECONDS"),
        (["--node", "x {port}", "--for", "0"], "--for"),
        (["--node", "x {port}", "--for", "1", "--cuts", "-1"], "--cuts"),
        (["--node", "x {port}", "--for", "1", "--clients", "0"], "--clients"),
        (["--node", "x {port}", "--for", "1", "--params", "[]"], "--params"),
        (["--node", "x {port}", "--for", "1", "--header", "Cookie"], "--header"),
        (["--node", "x {port}", "--for", "1", "--redis", "redis-server"], r"no {port}"),
        (["--node", "x {port}", "--for", "1", "--redis-stops", "1"], "requires --redis COMMAND"),
        (["--node", "x {port}", "--for", "1", "--failovers", "1"], "requires --failover COMMAND"),
        (["--node", "x {port}", "--for", "1", "--failover", ""], "--failover"),
    ],
)
def test_invalid_options_are_reported(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(problem, capsys.readouterr().err.splitlines()[-1])


def test_a_node_that_doesnt_start_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = f"{sys.executable} -c 'raise SystemExit({{port}})'"
    assert main(["--node", node, "--for", "1", "--yes"]) == 2
    assert "node 1 exited while starting:" in capsys.readouterr().err


def test_a_failover_that_fails_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = f"{sys.executable} -m http.server {{port}}"
    no_redis = ["--failover", "sh -c 'echo no master; exit 3'"]
    calm = ["--for", "1", "--kills", "0", "--terms", "0"]
    assert main(["--node", node, *calm, *no_redis, "--yes"]) == 2
    assert "exited with 3:\nno master" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "can't be read"),
        ("", "contains no events"),
        ('{"event": "add"}\n[]', "events.jsonl:2 isn't an event"),
        ('{"event": 1}', ":1 isn't an event"),
        ('{"event": "add", "payload": []}', ":1 isn't an event"),
        ("add", ":1 isn't an event"),
        ('{"event": "add"}', "1 events are too few. Use --events 50"),
    ],
)
def test_a_bad_script_is_reported(
    tmp_path: Path, text: str | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "events.jsonl"
    if text is not None:
        file.write_text(text)
    assert main(["--node", "x {port}", "--script", str(file)]) == 2
    assert problem in capsys.readouterr().err


def test_without_websockets_the_extra_is_named() -> None:
    hidden = "import sys; sys.modules['websockets'] = None; sys.argv[0] = 'chaos';"
    start = "from recovery_app.chaos.__main__ import main; sys.exit(main())"
    arguments = ["--node", "x {port}", "--script", "events.jsonl"]
    done = subprocess.run(
        [sys.executable, "-c", hidden + start, *arguments],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'pip install "django-recovery-app[chaos]"' in done.stderr
    assert "Traceback" not in done.stderr


# Scripts


def test_a_script_is_filled_in_for_each_client(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"event": "a", "payload": {"x": ["{client}-{number}", 1]}}\n\n{"event": "b"}')
    assert for_client(load(file), 4, 3) == [
        Line(event="a", payload={"x": ["4-1", 1]}),
        Line(event="b", payload={}),
        Line(event="a", payload={"x": ["4-3", 1]}),
    ]


def test_a_binary_script_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadScript, match="can't be read"):
        load(file)
