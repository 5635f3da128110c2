"""Outages of real servers: what pages, probes, log, journal and alerts make of each.

Alerts are tested on the series of all outages, which `tests.outages.record` has recorded. Some of
the outages are tried live, one after the other, behind a real proxy.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests.outages import causes, record
from tests.outages.scenarios import ON_REDIS
from tests.outages.site import MINUTE, PAGES, PASSWORD, USER, Site, set_password
from tests.outages.trial import HEALTHY, Trial
from tests.support.asgi import AsgiServer
from tests.support.databases import postgresql_programs
from tests.support.needs import require
from tests.support.processes import HOST, Process
from tests.support.proxies import make_nginx
from tests.support.redis import make_redis
from tests.support.timelapse import RULES, run_tests

AWAY = 4
LIVE = (
    "postgresql-stopped",
    "postgresql-silent",
    "sessions-silent",
    "sessions-away",
    "broken-restore",
)


@pytest.fixture(scope="module")
def promtool() -> str:
    path = shutil.which("promtool")
    require("promtool", path)
    return str(path)


# What was recorded.


@pytest.mark.parametrize("name", record.SCENARIOS)
def test_alerts_on_recorded_outages(name: str, promtool: str) -> None:
    run_tests(promtool, record.RECORDED / f"{name}.json")


def test_each_alert_fired_in_a_recorded_outage_and_each_recording_is_a_scenario() -> None:
    files = sorted(record.RECORDED.iterdir())
    assert {each.stem for each in files} == record.SCENARIOS.keys()
    recorded = " ".join(each.read_text() for each in files)
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert set(re.findall(r'alertname=\\"(\w+)\\"', recorded)) == alerts


# Live.


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Process]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with make_redis(directory) as server:
        set_password(server)
        yield server


def add_user(data: Path) -> None:
    """Add the one user to a demo that has its tables."""
    # Few iterations: the tests' own hasher isn't one of the demo's.
    password = PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1)
    row = {
        **dict.fromkeys(("first_name", "last_name", "email"), ""),
        **dict.fromkeys(("is_superuser", "is_staff", "is_active"), 1),
        "username": USER,
        "password": password,
        "date_joined": "2026-01-01 00:00:00",
    }
    marks = ", ".join("?" * len(row))
    causes.execute(
        data, f"INSERT INTO auth_user ({', '.join(row)}) VALUES ({marks})", *row.values()
    )


async def test_outages_of_redis_and_of_the_proxy(
    asgi_server: Callable[..., AsgiServer], redis: Process, tmp_path: Path, promtool: str
) -> None:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"}
    trial = Trial(asgi_server, tmp_path / "demo", redis=redis)
    add_user(trial.data)
    site = await trial.open(env)
    with make_nginx(tmp_path / "proxy", site.servers * 2) as nginx:
        site.url = f"ws://{HOST}:{nginx.port}"
        assert await site.come_back() == {"recovered": PAGES}
        await check_long_outage(trial, redis)
        for each in causes.OUTAGES.values():
            await check_outage(trial, redis, each)
        await check_proxy(site, nginx)
        await trial.recovered()
        await trial.told(each.cause for each in causes.OUTAGES.values())
        # The journal is evicted too.
        await check_evicting(trial, redis)
        await site.cut()
    site.expected.check(promtool, site.recorder, tmp_path / "alerts.test.yml")


async def check_long_outage(trial: Trial, redis: Process) -> None:
    """Have one that is long enough for somebody to be woken up."""
    site, start = trial.site, trial.site.now
    with causes.stopped(redis):
        await site.live(4)
        site.expected.firing(site.now, "RecoveryStorageUnavailable")
        assert "storage_down" in site.output()
    await trial.recovered()
    site.expected.firing(site.now)
    site.expected.fired(start, site.now, "RecoveryStorageUnavailable")


async def check_outage(trial: Trial, redis: Process, each: causes.Outage) -> None:
    """Have a short one: pages go on, and are told apart from those that lost something."""
    site = trial.site
    with each.make(redis):
        await site.live(1 / MINUTE)
        await trial.check_outage(each.cause)
        assert await site.come_back(site.pages[:AWAY]) == {"unavailable": AWAY}
    await site.live(1 / MINUTE)
    # The connections that were cut off have yet to end.
    await site.none("topics_unsafe")
    assert await site.come_back() == {"recovered": PAGES}


async def check_proxy(site: Site, nginx: Process) -> None:
    """Leave the proxy down: no page is connected, and the nodes know."""
    nginx.stop()
    assert await site.come_back() == {"": PAGES}
    await site.gone()
    await site.scrape()
    nginx.start()
    assert await site.come_back() == {"recovered": PAGES}


async def check_evicting(trial: Trial, redis: Process) -> None:
    """Have Redis evict what pages that are away will want; log and journal say so."""
    site = trial.site
    await site.cut()
    # What still has to be saved would be saved anew.
    await site.gone()
    causes.evict(redis)
    assert trial.probes() == HEALTHY
    assert await site.come_back() == {"not_found": PAGES}
    assert "has evicted" in site.output()
    rows = await trial.answer(reason="not_found")
    assert {"allkeys-lru" in row for row in rows} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVE)
def test_outages_are_still_as_they_were_recorded(
    name: str, promtool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in ON_REDIS:
        require("PostgreSQL", all(postgresql_programs()))
    monkeypatch.setattr(record, "RECORDED", tmp_path)
    record.record(name, promtool)
