"""What GitHub does with the repository: the matrix, pinned actions, commands that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.distribution import PROJECT
from tests.support.processes import TOP

WORKFLOWS = sorted((TOP / ".github/workflows").glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def jobs_of(path: Path) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


def steps_of(path: Path) -> Iterator[dict[str, Any]]:
    """Return all steps of all jobs."""
    for job in jobs_of(path).values():
        yield from job.get("steps", [])


def cells(matrix: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the pairs of Python and Django that a matrix has."""
    left_out = {(each["python"], each["django"]) for each in matrix["exclude"]}
    return {(p, d) for p in matrix["python"] for d in matrix["django"]} - left_out


def test_the_matrix_is_that_of_our_own_runs():
    matrix = jobs_of(TOP / ".github/workflows/tests.yml")["suite"]["strategy"]["matrix"]
    ours = re.search(r"^matrix=\(([^)]+)\)", (TOP / ".ci/run").read_text(), re.MULTILINE)
    assert ours
    assert cells(matrix) == {tuple(cell.split(":")) for cell in ours[1].split()}
    for version in matrix["python"]:
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


@each_workflow
def test_each_action_is_pinned_to_a_version(path):
    uses = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert [each for each in uses if not re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", each)] == []


@each_workflow
def test_each_command_is_there(path):
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    lines = "\n".join(step.get("run", "") for step in steps_of(path))
    called = re.findall(r"^ *make ((?:[a-z-]+ ?)+)", lines, re.MULTILINE)
    assert {target for each in called for target in each.split()} <= targets
    assert all((TOP / script).exists() for script in re.findall(r"^\.ci/\w+", lines, re.MULTILINE))


@each_workflow
def test_nothing_may_be_written_but_where_it_is_published(path):
    text = yaml.safe_load(path.read_text())
    assert text["permissions"] == {"contents": "read"}
    wider = {name for name, job in text["jobs"].items() if "write" in str(job.get("permissions"))}
    assert wider == ({"pypi", "npm"} if path.stem == "publish" else set())
    assert "secrets." not in path.read_text()
