"""The outages, each on a site of its own: what happens, and which alerts are to fire.

What pages are told, and what probes, log and journal say, is asserted at once; what the alerts
make of the recorded series is up to promtool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256

from recovery_app.storages.messages import MAX_MESSAGES
from tests.outages import causes
from tests.outages.site import MINUTE, PAGES
from tests.outages.trial import HEALTHY, Trial
from tests.support.redis import client
from tests.support.timelapse import Page

Scenario = Callable[[Trial], Awaitable[None]]
SECRET = {"DEMO_SECRET_KEY": "one secret " * 5}
ANOTHER_SECRET = {"DEMO_SECRET_KEY": "another secret " * 5}
NOT_STORED = {**HEALTHY, "storage": 503}
AWAY = 6
"""How many pages come back during an outage."""


# The storage fails.


async def storage_fails(trial: Trial, outage: causes.Outage) -> None:
    """Have an outage that is long enough for somebody to be woken up, and one more minute."""
    site = await trial.open()
    start = site.now
    assert trial.redis is not None
    with outage.make(trial.redis):
        await site.live(1)
        site.expected.firing(site.now)
        await trial.check_outage(outage.cause)
        assert outage.cause in site.output()
        assert await site.come_back(site.pages[:AWAY]) == {"unavailable": AWAY}
        await site.live(outage.minutes - 1)
        site.expected.firing(site.now, outage.alert)
    await trial.recovered()
    site.expected.firing(site.now)
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(6)
    site.expected.fired(start, site.now, outage.alert)
    (row, *_) = await trial.answer(reason="unavailable")
    assert outage.cause in row


async def short(trial: Trial) -> None:
    """Have an outage of a minute, over which nobody is woken up."""
    site = await trial.open()
    assert trial.redis is not None
    with causes.stopped(trial.redis):
        await site.live(1)
    await trial.recovered()
    await site.live(4)
    site.expected.fired(0, site.now)


async def slow(trial: Trial) -> None:
    """Have Redis answer late; nothing is lost, so it is a ticket."""
    site = await trial.open()
    start = site.now
    assert trial.redis is not None
    for number in range(20 * MINUTE):
        # Long enough for the histogram to tell, and below the storage's timeout.
        causes.pause(trial.redis, 650)
        await site.live(1 / MINUTE)
        if number == 2 * MINUTE:
            causes.pause(trial.redis, 650)
            assert await site.come_back(site.pages[:AWAY]) == {"recovered": AWAY}
            assert trial.probes() == HEALTHY
    site.expected.firing(site.now, "RecoveryStorageSlow")
    await site.live(12)
    site.expected.fired(start, site.now, "RecoveryStorageSlow")
    site.expected.firing(site.now)
    assert site.figure("topics_unsafe") == 0


# The storage loses what it has.


async def evicting(trial: Trial) -> None:
    """Have Redis make room for somebody else's cache."""
    site = await trial.open()
    await site.cut()
    assert trial.redis is not None
    causes.evict(trial.redis)
    await states_lost(trial, "evicted")


async def restarted_empty(trial: Trial) -> None:
    """Restart a Redis that keeps no copy on disk, while pages are away."""
    site = await trial.open()
    await site.cut()
    assert trial.redis is not None
    with causes.stopped(trial.redis):
        pass
    await states_lost(trial, "started")


async def flushed(trial: Trial) -> None:
    """Empty Redis: pages that are open lose nothing, those that are away do."""
    site = await trial.open()
    assert trial.redis is not None
    with client(trial.redis.port) as connection:
        connection.flushall()
    await site.live(1 / MINUTE)
    assert site.figure("topics_unsafe") == 0
    assert await site.come_back() == {"recovered": PAGES}
    await site.cut()
    with client(trial.redis.port) as connection:
        connection.flushall()
    await states_lost(trial, "emptied")


async def messages_missed(trial: Trial) -> None:
    """Publish to a durable group, while its pages are away, more than its log keeps."""
    site = await trial.open(path="/member")
    await site.cut()
    publisher = Page("/publishing", site.pages[0].headers)
    assert await publisher.come_back(site.url)
    await publisher.ask("publish", {"hundreds": MAX_MESSAGES // 100 + 5})
    assert await site.come_back() == {"recovered": PAGES}
    await site.until(lambda: site.figure("messages_missed_total") == PAGES)
    await site.live(4)
    site.expected.firing(site.now)
    await site.live(2)
    site.expected.firing(site.now, "RecoveryMessagesMissed")
    assert trial.probes() == HEALTHY
    # They are in the group again, with all that is published from now on.
    await publisher.ask("publish", {"hundreds": 1})
    await site.until(lambda: site.figure("messages_handled_total") == 100 * PAGES)
    await site.live(12)
    site.expected.firing(site.now)
    assert site.figure("messages_missed_total") == PAGES
    site.expected.fired(0, site.now, "RecoveryMessagesMissed")
    await publisher.cut()


async def states_lost(trial: Trial, cause: str) -> None:
    """Have pages come back to a storage that answers, and has nothing of theirs."""
    site, start = trial.site, trial.site.now
    assert trial.probes() == HEALTHY
    assert await site.come_back() == {"not_found": PAGES}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryStatesLost")
    (row, *_) = await trial.answer(reason="not_found")
    assert cause in row
    assert cause in site.output()
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(8)
    site.expected.firing(site.now)
    site.expected.fired(start, site.now, "RecoveryStatesLost")


# PostgreSQL, which has states and sessions.


async def postgresql_stopped(trial: Trial) -> None:
    """Stop it: open pages go on, and nobody else gets in."""
    site = await trial.open()
    start = site.now
    assert trial.postgresql is not None
    trial.postgresql.stop()
    try:
        await site.live(1)
        site.expected.firing(site.now)
        await trial.check_outage("Connection refused")
        assert "Connection refused" in site.output()
        for _ in range(4 * MINUTE):
            assert await site.come_back(site.pages[:AWAY]) == {"": AWAY}
            await site.live(1 / MINUTE)
        site.expected.firing(site.now, "RecoveryStorageUnavailable", "RecoveryJoinsFail")
        assert site.figure("topics_open") == PAGES - AWAY
    finally:
        trial.postgresql.start()
    await trial.recovered()
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(8)
    site.expected.firing(site.now)
    alerts = ("RecoveryStorageUnavailable", "RecoveryJoinsFail")
    site.expected.fired(start, site.now, *alerts)
    (row, *_) = await trial.answer(reason="unavailable", kind="unsaved")
    assert "Connection refused" in row


async def postgresql_silent(trial: Trial) -> None:
    """Have it answer nothing: no join ends, and the nodes still answer their probes."""
    site = await trial.open()
    start = site.now
    assert trial.postgresql is not None
    with trial.postgresql.stalled():
        await site.live(1)
        site.expected.firing(site.now)
        assert trial.probes() == NOT_STORED
        assert await site.come_back(site.pages[:AWAY]) == {"": AWAY}
        assert site.figure("topics_unsafe") == PAGES
        await site.live(3)
        assert trial.probes() == NOT_STORED
        site.expected.firing(site.now, "RecoveryStorageUnavailable", "RecoveryJoinsHang")
    await trial.recovered()
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(8)
    site.expected.firing(site.now)
    alerts = ("RecoveryStorageUnavailable", "RecoveryJoinsHang")
    site.expected.fired(start, site.now, *alerts)
    (row, *_) = await trial.answer(reason="unavailable", kind="unsaved")
    assert "no answer in time" in row or "all threads wait" in row


# Nobody gets in.


async def sessions_away(trial: Trial) -> None:
    """Take away the database with the sessions; the storage is well."""
    site = await trial.open()
    with causes.sessions_are_away(trial.data):
        for _ in range(4 * MINUTE):
            assert await site.come_back() == {"": PAGES}
            await site.scrape()
        site.expected.firing(site.now, "RecoveryJoinsFail", "RecoveryPagesGone")
        assert trial.probes() == HEALTHY
        assert site.figure("topics_open") == 0
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(6)
    site.expected.firing(site.now)


async def sessions_silent(trial: Trial) -> None:
    """Have the database with the sessions answer nothing; the storage is well."""
    site = await trial.open()
    assert trial.postgresql is not None
    with trial.postgresql.stalled():
        await site.live(1)
        assert await site.come_back(site.pages[:AWAY]) == {"": AWAY}
        await site.live(1)
        site.expected.firing(site.now)
        assert trial.probes() == HEALTHY
        await site.live(3)
        site.expected.firing(site.now, "RecoveryJoinsHang")
        assert site.figure("joins_pending") == AWAY
        assert site.figure("topics_open") == PAGES - AWAY
        assert site.figure("topics_unsafe") == 0
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(6)
    site.expected.firing(site.now)
    site.expected.fired(0, site.now, "RecoveryJoinsHang")
    assert site.figure("joins_pending") == 0


async def nobody_connects(trial: Trial) -> None:
    """Have no page reach the node, as behind a proxy that is down."""
    site = await trial.open()
    await site.cut()
    await site.wait(1)
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(4)
    # A restart of the proxy within a minute is nothing.
    site.expected.fired(0, site.now)
    await site.cut()
    await site.wait(4)
    site.expected.firing(site.now, "RecoveryPagesGone")
    assert trial.probes() == HEALTHY
    assert await site.come_back() == {"recovered": PAGES}
    await site.live(1)
    site.expected.firing(site.now)


# Deploys.


async def deploy(trial: Trial) -> None:
    """Deploy as it should be."""
    site = await trial.open(SECRET)
    assert await trial.deploy(**SECRET) == {"recovered": PAGES}
    await site.live(6)
    site.expected.fired(0, site.now)


async def broken_restore(trial: Trial) -> None:
    """Deploy code that can't restore what it has stored."""
    site = await trial.open(SECRET)
    assert await trial.deploy(**SECRET, BROKEN_RESTORE="1") == {"failed": PAGES}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryRestoreFails")
    (row, *_) = await trial.answer(reason="failed")
    assert "RuntimeError" in row
    assert "draining.py" in row
    await site.wait(6)
    site.expected.firing(site.now)
    site.expected.fired(0, site.now, "RecoveryRestoreFails")


async def another_secret(trial: Trial) -> None:
    """Deploy another secret, without the old one as a fallback."""
    site = await trial.open(SECRET)
    assert await trial.deploy(**ANOTHER_SECRET) == {"rejected": PAGES}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryTokensRejectedSuddenly")
    await site.wait(2)
    site.expected.fired(0, site.now, "RecoveryTokensRejectedSuddenly")


async def rejected_now_and_then(trial: Trial) -> None:
    """Have a third of those who come back rejected, a few at a time: a ticket, and no page."""
    site = await trial.open(pages=9)
    rejected, others = site.pages[:1], site.pages[1:3]
    for _ in range(30):
        rejected[0].token = rejected[0].forged()
        assert await site.come_back(rejected) == {"rejected": 1}
        assert await site.come_back(others) == {"recovered": 2}
        await site.live(1)
    site.expected.firing(site.now, "RecoveryTokensRejected")
    site.expected.fired(0, site.now, "RecoveryTokensRejected")
    (row, *_) = await trial.answer(reason="rejected")
    assert "token" in row


async def versions_mixed(trial: Trial) -> None:
    """Roll back to code that doesn't know what the newer code has stored, and leave it so."""
    site = await trial.open({**SECRET, "STATE_VERSION": "2"})
    assert await trial.deploy(**SECRET, STATE_VERSION="1") == {"version": PAGES}
    for _ in range(40):
        assert await site.come_back(site.pages[:2]) == {"version": 2}
        await site.wait(1)
    site.expected.firing(site.now, "RecoveryVersionsMixed")
    await site.wait(20)
    site.expected.firing(site.now)
    site.expected.fired(0, site.now, "RecoveryVersionsMixed")
    (row, *_) = await trial.answer(reason="version")
    assert row


async def another_encryption_key(trial: Trial) -> None:
    """Deploy another key of the encryption, without the old one."""
    site = await trial.open({**SECRET, "ENCRYPTION_KEY": sha256(b"one key").hexdigest()})
    outcomes = await trial.deploy(**SECRET, ENCRYPTION_KEY=sha256(b"another").hexdigest())
    assert outcomes == {"version": PAGES}
    await site.wait(2)
    site.expected.firing(site.now, "RecoverySnapshotsUnreadable")
    await site.wait(15)
    site.expected.firing(site.now)
    site.expected.fired(0, site.now, "RecoverySnapshotsUnreadable")
    (row, *_) = await trial.answer(reason="version")
    assert "ENCRYPTION_KEYS" in row


async def cleanup_fails(trial: Trial) -> None:
    """Have the database refuse to delete what has expired."""
    trigger = "CREATE TRIGGER kept BEFORE DELETE ON recovery_app_storedsnapshot "
    causes.execute(trial.data, trigger + "BEGIN SELECT RAISE(ABORT, 'kept'); END")
    site = await trial.open({"STORED_IN_DATABASE": "1", "CLEANUP_INTERVAL": "0.05"})
    causes.execute(trial.data, "UPDATE recovery_app_storedsnapshot SET expires_us = 1")
    await site.wait(70)
    site.expected.firing(site.now, "RecoveryCleanupFails")
    site.expected.fired(0, site.now, "RecoveryCleanupFails")


ON_REDIS: dict[str, Scenario] = {
    **{name: partial(storage_fails, outage=each) for name, each in causes.OUTAGES.items()},
    "short": short,
    "slow": slow,
    "evicting": evicting,
    "restarted-empty": restarted_empty,
    "flushed": flushed,
    "messages-missed": messages_missed,
    "sessions-away": sessions_away,
    "nobody-connects": nobody_connects,
    "deploy": deploy,
    "broken-restore": broken_restore,
    "another-secret": another_secret,
    "rejected-now-and-then": rejected_now_and_then,
    "versions-mixed": versions_mixed,
    "another-encryption-key": another_encryption_key,
    "cleanup-fails": cleanup_fails,
}
ON_POSTGRESQL: dict[str, Scenario] = {
    "postgresql-stopped": postgresql_stopped,
    "postgresql-silent": postgresql_silent,
}
ON_BOTH: dict[str, Scenario] = {"sessions-silent": sessions_silent}
