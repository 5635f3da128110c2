"""The dashboard and the alert rules: each metric that they ask for is one that is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from recovery_app._core.telemetry import OPERATIONS
from recovery_app._live.outcomes import Outcome
from recovery_app.metrics.definitions import APPLICATION_EVENTS, REASONS, STORAGE_REASONS
from recovery_app.metrics.observer import Metrics
from tests.support.needs import require
from tests.support.processes import TOP

DIRECTORY = TOP / "docs" / "monitoring"
DASHBOARD = json.loads((DIRECTORY / "grafana-dashboard.json").read_text())
ALERTS = (DIRECTORY / "alerts.yml").read_text()
TARGET = {"job", "instance"}
"""What Prometheus adds."""
LABELS = {
    "cause": {"crashed", "refused", "silent"},
    "event": set(APPLICATION_EVENTS),
    "outcome": {each.value for each in Outcome},
    "operation": set(OPERATIONS),
    "reason": {*REASONS, *STORAGE_REASONS},
}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Return the names of all samples, each with its labels."""
    registry = CollectorRegistry()
    metrics = Metrics("golivekit", registry)
    metrics.counted(1, shared=True)
    metrics.topic_opened("Counter", 1)
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
NAMES = [rule["alert"] for rule in RULES if "alert" in rule]


def alert_queries() -> list[str]:
    return [rule["expr"] for rule in RULES]


QUERIES = [*dashboard_queries(), *alert_queries()]


def labels_of(recorded: str) -> set[str]:
    """Return the labels by which a recording rule adds up, which its name begins with."""
    return set(recorded.partition(":")[0].split("_"))


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_names_what_is_exported(query: str, exported: dict[str, set[str]]) -> None:
    selectors = re.findall(r"((?:\w+:)?golivekit_\w+(?::\w+)?)(?:\{([^}]*)\})?", query)
    assert selectors
    for name, matchers in selectors:
        known = exported | {each: labels_of(each) for each in RECORDED}
        assert name in known
        for label, _, values in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert label in TARGET or label in known[name]
            assert label in TARGET or set(values.split("|")) <= LABELS[label]
    of_ours = known[selectors[0][0]] | TARGET | {"le"}
    for labels in re.findall(r"by \(([^)]*)\)", query):
        assert set(labels.split(", ")) <= of_ours


def test_each_metric_is_on_the_dashboard(exported: dict[str, set[str]]) -> None:
    families = {name for name in exported if not name.endswith("_created")}
    shown = set(re.findall(r"golivekit_\w+", " ".join(dashboard_queries())))
    assert families - shown == {"golivekit_recovery_storage_seconds_sum"}


def test_panels_fit_on_the_page_and_have_ids_of_their_own() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    require("promtool", path)
    return str(path)


def run(promtool: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [promtool, *arguments], cwd=DIRECTORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_alert_rules_are_good(promtool: str) -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in run(promtool, "check", "rules", "alerts.yml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", "-"))
def test_each_alert_has_a_section_in_the_runbook(rule: dict[str, Any]) -> None:
    if "alert" not in rule:
        return
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("#")
    # tomllib is new in Python 3.11.
    project = (TOP / "pyproject.toml").read_text()
    assert f'Documentation = "{page.removesuffix("runbook.html")}"' in project
    assert anchor == rule["alert"].lower()
    runbook = (TOP / "docs/runbook.md").read_text()
    assert f"\n## {rule['alert']}\n" in runbook
    assert f"](runbook.md#{anchor})" in (TOP / "docs/monitoring.md").read_text()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_the_runbook_has_no_section_of_an_alert_that_there_is_not() -> None:
    runbook = (TOP / "docs/runbook.md").read_text()
    assert re.findall(r"^## (Recovery\w+)$", runbook, re.MULTILINE) == NAMES


def test_alerts_tell_a_bad_night_from_a_good_one(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts.test.yml")


def test_dashboard_queries_are_good(promtool: str, tmp_path: Path) -> None:
    """Have promtool read each panel's query as the expression of a rule."""
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "5m")}
        for number, expr in enumerate(dashboard_queries())
        if not expr.startswith("label_values")
    ]
    # JSON is YAML too.
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in run(promtool, "check", "rules", path)


def test_nodes_on_one_database_are_not_added_up(promtool: str, tmp_path: Path) -> None:
    """Have two nodes of one job count the same rows, and one of another job its own."""
    (expr,) = (each for each in dashboard_queries() if "snapshots_live" in each)
    name = "golivekit_recovery_snapshots_live"
    nodes = [("web", "one"), ("web", "two"), ("chat", "three")]
    series = [
        {"series": f'{name}{{job="{job}", instance="{instance}"}}', "values": "7"}
        for job, instance in nodes
    ]
    asked = {
        "expr": expr.replace("$job", ".*").replace("$instance", ".*"),
        "eval_time": "0m",
        "exp_samples": [{"labels": "{}", "value": 14}],
    }
    path = tmp_path / "dashboard.test.yml"
    path.write_text(json.dumps({"tests": [{"input_series": series, "promql_expr_test": [asked]}]}))
    assert "SUCCESS" in run(promtool, "test", "rules", path)


def test_every_alert_was_seen_to_fire() -> None:
    tested = (DIRECTORY / "alerts.test.yml").read_text()
    for name in NAMES:
        assert f'alertname="{name}"' in tested
