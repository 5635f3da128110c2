"""Which snapshots are those of open pages, and how that is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app.admin import formatting
from recovery_app.admin.presence import LATE_SECONDS, UNKNOWN, Presence, count_open, presence_of
from recovery_app.values import SnapshotInfo
from tests.admin.support import LIST, detail_of, save, text_of
from tests.clock import FakeClock

TTL = 300
TOUCH = TTL / 4


@pytest.mark.parametrize(
    ("ago", "is_open"), [(0, True), (TOUCH, True), (TOUCH + LATE_SECONDS + 1, False), (299, False)]
)
def test_a_page_that_missed_a_touch_is_away(
    operator: Client, manager: RecoveryManager, clock: FakeClock, ago: float, is_open: bool
) -> None:
    (token,) = save(manager, "mine")
    clock.advance(seconds=10)
    manager.touch(token)
    clock.advance(seconds=ago)
    (info,) = manager.snapshots().items
    assert presence_of(info, manager) == Presence(seconds_ago=ago, is_open=is_open)
    assert count_open([info, info], manager) == 2 * is_open
    listed, detail = text_of(operator.get(LIST)), text_of(operator.get(detail_of("mine")))
    word = "open" if is_open else "away"
    assert f" {word} 0 1 snapshot on this page" in listed
    assert f"Of pages that are open {int(is_open)}" in listed
    time = "5 minutes" if ago == 299 else f"{ago:.0f} seconds"
    assert f"Page {word} (last sign of life {time} ago)" in detail


def test_what_cant_be_known(operator: Client, manager: RecoveryManager, clock: FakeClock) -> None:
    info = SnapshotInfo(socket_hash="0" * 16, expires_in_seconds=TTL + 0.001, size_bytes=1)
    assert presence_of(info, manager).is_open
    for left in (math.nan, -1.0, 0.0, TTL + 60.0, math.inf):
        assert presence_of(replace(info, expires_in_seconds=left), manager) == UNKNOWN
    assert presence_of(replace(info, problem="unreadable"), manager) == UNKNOWN
    save(manager, "mine")
    clock.advance(seconds=TTL + 1)
    assert "Page unknown" in text_of(operator.get(detail_of("mine")))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (172_800, "2 days"),
    ],
)
def test_times_are_told_in_units_that_people_read(seconds: float, text: str) -> None:
    assert formatting.duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text
