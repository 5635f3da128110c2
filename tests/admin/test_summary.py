"""The summary above the list: totals, charts and the outcomes of recoveries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from django.test import Client
from django.utils import translation

from recovery_app import RecoveryManager
from recovery_app.admin import formatting
from recovery_app.admin.charts import histogram
from recovery_app.admin.outcomes import MAX_FAILURES, OUTCOMES, Outcomes
from recovery_app.exceptions import (
    InvalidSignature,
    MalformedToken,
    SnapshotCorrupt,
    SnapshotNotFound,
    StorageUnavailable,
    TokenError,
    TokenExpired,
    TokenSuperseded,
)
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage
from recovery_app.values import Sample
from tests.admin.support import LIST, hash_of, save, text_of
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager


@pytest.fixture(autouse=True)
def _fresh_outcomes() -> Iterator[None]:
    OUTCOMES.after_fork()
    yield
    OUTCOMES.after_fork()


# Totals


def test_how_many_and_how_large(operator: Client, manager: RecoveryManager) -> None:
    save(manager, *(f"socket {n}" for n in range(3)), state={"text": "x" * 1013})
    seen = text_of(operator.get(LIST))
    open_pages = "Of pages that are open 3 Expired, not yet removed 0 Storage MemoryStorage"
    assert f"Snapshots 3 Total size 3.0 KB {open_pages}" in seen
    assert "Estimated" not in seen


class Vast(MemoryStorage):
    """A storage that estimates its number of snapshots."""

    def sample(self, limit: int = 1000) -> Sample:
        items = super().sample(limit).items
        return Sample(items=items, total=123_456, expired=7_654, is_exact=False)


def test_an_estimate_is_marked(operator: Client, clock: FakeClock) -> None:
    with make_manager(storage=Vast(clock=clock), clock=clock) as manager, override_manager(manager):
        save(manager, "one", "two", state={"text": "x" * 1013})
        response = operator.get(LIST)
    seen = text_of(response)
    assert re.search(r"Snapshots about 120,000 Total size about 1\d\d\.\d MB", seen)
    assert "not yet removed about 7,700" in seen
    assert "Of pages that are open about 120,000" in seen
    assert "Estimated from a sample of 2 snapshots" in seen
    assert "100 %" in seen


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "about 7"), (99, "about 99"), (101, "about 100"), (98_765, "about 99,000")],
)
def test_estimates_have_two_digits(value: int, text: str) -> None:
    assert formatting.number(value, is_exact=False) == text
    assert formatting.number(value, is_exact=True) == formatting.number(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0:00"),
        (59.9, "0:59"),
        (249, "4:09"),
        (3600, "1:00:00"),
        (93_784, "26:03:04"),
        (0, "expired"),
        (-5, "expired"),
        (float("nan"), "unknown"),
        (1e12, "never"),
    ],
)
def test_expiry_as_text(seconds: float, text: str) -> None:
    assert formatting.expiry(seconds) == text


# Charts


def test_the_charts_are_svg_with_a_text_alternative(
    operator: Client, manager: RecoveryManager, clock: FakeClock
) -> None:
    save(manager, "old", state={"text": "x" * 3000})
    clock.advance(seconds=200)
    save(manager, "new", "newer", state={})
    html = operator.get(LIST).content.decode()
    drawings = re.findall(r'<svg class="recovery.*?</svg>', html, re.DOTALL)
    charts = list(map(ElementTree.fromstring, drawings))
    assert [each.findtext("desc") for each in charts] == [
        "≤ 256 B: 2; ≤ 1 KB: 0; ≤ 4 KB: 1; ≤ 16 KB: 0; ≤ 64 KB: 0; ≤ 256 KB: 0; > 256 KB: 0",
        "≤ 10 s: 2; ≤ 1 min: 0; ≤ 5 min: 1; ≤ 15 min: 0; ≤ 1 h: 0; ≤ 6 h: 0; > 6 h: 0",
    ]
    for chart in charts:
        labels = str(chart.get("aria-labelledby")).split()
        assert all(f'id="{label}"' in html for label in labels)
        bars = [float(str(bar.get("width"))) for bar in chart.findall("rect")]
        assert bars[0] == 2 * bars[1]
        assert "style" not in chart.attrib
    assert "http" not in "".join(drawings)


def test_numbers_in_a_chart_have_a_decimal_point_in_every_language(
    operator: Client, manager: RecoveryManager
) -> None:
    save(manager, "one", "two", "three", state={})
    save(manager, "four", state={"text": "x" * 3000})
    with translation.override("de"):
        html = operator.get(LIST, headers={"accept-language": "de"}).content.decode()
    lengths = re.findall(r'<rect x="[^"]*" y="[^"]*" width="([^"]*)"', html)
    assert len(lengths) == 3
    for length in lengths:
        float(length)


def test_a_value_equal_to_a_limit_counts_below_it() -> None:
    chart = histogram("x", "X", ("a", "b", "c"), (1, 2), [0, 1, 1.5, 2, 3], in_percent=False)
    assert [(bar.label, bar.value) for bar in chart.bars] == [("a", "2"), ("b", "2"), ("c", "1")]
    few = histogram("x", "X", ("a", "b"), (1,), [0] * 999 + [2], in_percent=True)
    assert [bar.value for bar in few.bars] == ["100 %", "under 1 %"]
    assert all(bar.length > 0 for bar in few.bars)
    none = histogram("x", "X", ("a", "b"), (1,), [], in_percent=True)
    assert [(bar.value, bar.length) for bar in none.bars] == [("0 %", 0), ("0 %", 0)]


# Recoveries


def test_outcomes_of_this_process_are_counted(operator: Client, manager: RecoveryManager) -> None:
    (token,) = save(manager, "mine")
    manager.recover(token)
    manager.take_over(token)
    never_saved = manager.create_token("never saved")
    for bad in ("x", "A" * 64, never_saved):
        with pytest.raises((TokenError, SnapshotNotFound)):
            manager.recover(bad)
    response = operator.get(LIST)
    seen = text_of(response)
    for fact in ("Recovered 2", "Token rejected 2", "Snapshot not found 1", "Token expired 0"):
        assert fact in seen
    assert "Latest 3 failed recoveries" in seen
    assert hash_of("never saved") in seen
    assert token not in response.content.decode()
    assert never_saved not in response.content.decode()
    assert f'href="?q={hash_of("never saved")}"' in response.content.decode()


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (TokenExpired(age_seconds=2, limit_seconds=1), "Token expired"),
        (SnapshotNotFound(), "Snapshot not found"),
        (TokenSuperseded(), "Superseded by a newer connection"),
        (MalformedToken("x"), "Token rejected"),
        (InvalidSignature(), "Token rejected"),
        (SnapshotCorrupt("x"), "State not readable"),
        (StorageUnavailable("X", "load"), "Storage unavailable"),
    ],
)
def test_each_failure_has_a_name(error: TokenError, title: str) -> None:
    outcomes = Outcomes()
    outcomes.failed(error)
    assert [(str(name), count) for name, count in outcomes.counts() if count] == [(title, 1)]
    (failure,) = outcomes.failures()
    assert (str(failure.title), failure.reason) == (title, str(error))


def test_the_latest_failures_are_kept_and_a_fork_resets_them(clock: FakeClock) -> None:
    outcomes = Outcomes(clock)
    for number in range(MAX_FAILURES + 5):
        outcomes.failed(SnapshotNotFound(socket_hash=str(number)))
    kept = [failure.socket_hash for failure in outcomes.failures()]
    assert kept == [str(number) for number in range(MAX_FAILURES + 4, 4, -1)]
    outcomes.recovered()
    clock.advance(seconds=5)
    outcomes.after_fork()
    assert outcomes.failures() == []
    assert sum(count for _, count in outcomes.counts()) == 0
    assert outcomes.since.timestamp() == clock()


def test_an_unavailable_storage_hides_no_outcomes(operator: Client, clock: FakeClock) -> None:
    storage = DownStorage(clock)
    with make_manager(storage=storage, clock=clock) as manager, override_manager(manager):
        (token,) = save(manager, "mine")
        storage.down = True
        with pytest.raises(StorageUnavailable):
            manager.recover(token)
        seen = text_of(operator.get(LIST, {"q": "mine"}))
    assert "The storage can’t be reached" in seen
    assert "Storage unavailable 1" in seen


def test_a_copy_is_counted_as_one() -> None:
    outcomes = Outcomes()
    for word in ("recovered", "copied"):
        outcomes.recovered()
        outcomes.joined(word)
    counts = {str(title): count for title, count in outcomes.counts()}
    assert (counts["Recovered"], counts["Copied from a newer connection"]) == (1, 1)
