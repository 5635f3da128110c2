"""What the model must catch: the two sides with one rule of theirs broken at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from recovery_app import fencing
from recovery_app._live import handlers, numbering, replies
from recovery_app._live.replies import Reply, ReplyCache
from recovery_app._live.session import Session
from recovery_app.consumers.application import TopicApplication
from recovery_app.fencing import Verdict, decide_save, decide_takeover
from recovery_app.snapshots import Header
from recovery_app.storages import base
from tests.model.storage import Cellar

Patch = Callable[[Any], None]


def forget_the_number(patch: Any) -> None:
    saving = Session._saving

    def without_number(self: Session, *arguments: Any) -> Any:
        applied, self.replies.applied = self.replies.applied, 0
        try:
            return saving(self, *arguments)
        finally:
            self.replies.applied = applied

    patch.setattr(Session, "_saving", without_number)


def forget_the_replies(patch: Any) -> None:
    patch.setattr(ReplyCache, "pack", lambda self: b"")


def trim_replies_that_are_wanted(patch: Any) -> None:
    patch.setattr(ReplyCache, "acknowledge", lambda self, number: self._replies.clear())


def apply_repeats(patch: Any) -> None:
    patch.setattr(handlers.Handlers, "apply_once", apply_anything)


async def apply_anything(self: Any, session: Session, message: Any, numbers: Any) -> Reply:
    reply = await self.apply(session, message)
    session.replies.applied = numbers.seq - 1
    session.replies.add(reply, numbers.line)
    await session.save()
    return numbering.with_numbers(reply, safe=session.replies.safe)


def trim_one_reply_too_many(patch: Any) -> None:
    acknowledge = ReplyCache.acknowledge
    patch.setattr(ReplyCache, "acknowledge", lambda self, number: acknowledge(self, number + 1))


def keep_too_few_replies(patch: Any) -> None:
    patch.setattr(replies, "MAX_REPLIES", 8)


def save_only_what_changed_the_state(patch: Any) -> None:
    patch.setattr(Session, "is_durable", property(lambda self: not self._dirty))


def tell_as_safe_what_is_not(patch: Any) -> None:
    safe = property(lambda self: self.applied, lambda self, _: None)
    patch.setattr(ReplyCache, "safe", safe, raising=False)


def tell_of_events_before_they_are_saved(patch: Any) -> None:
    async def save(self: Session, *, force: bool = False) -> None:
        self.replies.safe = self.replies.applied

    patch.setattr(Session, "save", save)


def count_no_event_that_fails(patch: Any) -> None:
    add = ReplyCache.add

    def only_good(self: ReplyCache, reply: Reply, *options: Any) -> None:
        if reply.is_ok:
            add(self, reply, *options)

    patch.setattr(ReplyCache, "add", only_good)


def roll_nothing_back(patch: Any) -> None:
    async def nothing(self: TopicApplication, payload: bytes | None) -> None: ...

    patch.setattr(TopicApplication, "roll_back", nothing)


def ignore_the_fence(patch: Any) -> None:
    refuse = fencing.refuse

    def at_takeovers_only(header: Header, claim: Any, *, by_floor: bool = False) -> Any:
        return refuse(header, claim, by_floor=True) if by_floor else None

    def without_fence(stored: bytes | None, data: bytes, **options: Any) -> Any:
        if stored is not None:
            stored = replace(Header.read(stored), fence=0).put_on(stored)
        return decide_save(stored, data, **options)

    patch.setattr(fencing, "refuse", at_takeovers_only)
    patch.setattr(base, "decide_save", without_fence)


def leave_the_floor(patch: Any) -> None:
    def decide(stored: bytes | None, data: bytes, **options: Any) -> Any:
        if stored is None:
            return decide_save(stored, data, **options)
        floor = Header.read(stored).floor
        decision = decide_save(stored, data, **options)
        if decision.data is not None:
            header = Header.read(decision.data)
            decision.data = replace(header, floor=floor).put_on(decision.data)
        return decision

    patch.setattr(base, "decide_save", decide)


def raise_the_floor_at_a_takeover(patch: Any) -> None:
    def decide(*arguments: Any, **options: Any) -> Any:
        decision = decide_takeover(*arguments, **options)
        if decision.verdict is Verdict.DONE and decision.data is not None:
            header = Header.read(decision.data)
            decision.data = replace(header, floor=header.fence).put_on(decision.data)
        return decision

    patch.setattr(base, "decide_takeover", decide)


def fork_without_a_word(patch: Any) -> None:
    start = Session._fork_socket

    def quietly(self: Session, payload: bytes, *, announce: bool = False) -> Awaitable[bool]:
        return start(self, payload)

    patch.setattr(Session, "_fork_socket", quietly)


def fork_with_no_numbers(patch: Any) -> None:
    start = Session._fork_socket

    async def afresh(self: Session, payload: bytes, *, announce: bool = False) -> bool:
        if announce:
            self.replies = ReplyCache()
        return await start(self, payload, announce=announce)

    patch.setattr(Session, "_fork_socket", afresh)


def recover_without_the_numbers(patch: Any) -> None:
    take_over = Session.take_over

    async def afresh(self: Session, token: object, fallbacks: Any = ()) -> Any:
        takeover = await take_over(self, token, fallbacks)
        self.replies = ReplyCache()
        return takeover

    patch.setattr(Session, "take_over", afresh)


def take_the_place_of_a_token_that_is_gone(patch: Any) -> None:
    start = Session.start

    async def greedily(self: Session, payload: bytes) -> None:
        was_kept = self.outcome.preserves_client_token
        await start(self, payload)
        self._preserves_client_token = was_kept

    patch.setattr(Session, "start", greedily)


def let_a_late_save_overwrite_the_next(patch: Any) -> None:
    patch.setattr(Cellar, "land_before", lambda self, caller: None)


SERVER: tuple[Patch, ...] = (
    forget_the_number,
    forget_the_replies,
    trim_replies_that_are_wanted,
    apply_repeats,
    trim_one_reply_too_many,
    keep_too_few_replies,
    save_only_what_changed_the_state,
    tell_as_safe_what_is_not,
    tell_of_events_before_they_are_saved,
    count_no_event_that_fails,
    roll_nothing_back,
    ignore_the_fence,
    leave_the_floor,
    raise_the_floor_at_a_takeover,
    fork_without_a_word,
    fork_with_no_numbers,
    recover_without_the_numbers,
    take_the_place_of_a_token_that_is_gone,
    let_a_late_save_overwrite_the_next,
)

CLIENT: dict[str, tuple[str, str]] = {
    "renumber after each join": (
        "while (events[place - 1]?.seq === null) place -= 1;",
        'while (events[place - 1]?.stage === "queued") place -= 1;',
    ),
    "remove an event at its reply": (
        "this.events.splice(0, this.#placeOf((queued) => !queued.isUpTo(this.#durableSeq)));",
        "this.events.splice(0);",
    ),
    "remove a stored event without a reply": (
        "if (unanswered.length > 0) this.events = [...unanswered, ...this.events];",
        "",
    ),
    "resend only events without a reply": (
        'for (const queued of later) queued.stage = "queued";',
        'for (const queued of later) queued.stage = queued.isAnswered ? "replied" : "queued";',
    ),
    "number in reverse order": (
        "of events.slice(place))",
        "of events.slice(place).reverse())",
    ),
    "acknowledge events without a reply": (
        "_ack: this.#acknowledgedSeq()",
        "_ack: this.#lastSentSeq",
    ),
    "settle an event twice": (
        'this.stage = "replied";\n    if (this.isAnswered) return;',
        'this.stage = "replied";',
    ),
    "send queued events to a fresh state": (
        "this.discard(this.events.filter(({ isEarly }) => isCopy || !isEarly), outcome);",
        "for (const queued of this.events) queued.seq = null;",
    ),
    "send to a temporary state": (
        'const RETRY_OUTCOMES = ["version", "unavailable"];',
        "const RETRY_OUTCOMES = [];",
    ),
    "send without a limit": (
        "const MAX_IN_FLIGHT = 32;",
        "const MAX_IN_FLIGHT = 1_000;",
    ),
    "never ask what is stored": (
        'if (last && events.every(({ stage }) => stage === "replied"))',
        "if (false)",
    ),
    "never resend": (
        "if (!this.#timer.isSet) this.#timer.set(this.#options.timeoutMs, () => this.#resend());",
        "",
    ),
    "treat an early event as one of an older state": (
        "this.events.filter(({ isEarly }) => isCopy || !isEarly)",
        "this.events",
    ),
    "lose events although the state was recovered": (
        'if (outcome === "recovered") {',
        'if (outcome === "never") {',
    ),
    "ignore stored events": (
        "this.#setAside = storage.load()",
        "this.#setAside = []",
    ),
    "ignore a pushed token": (
        'if (event === "recovery:token") this.view.keep(payload);',
        "",
    ),
}
"""Replacements in the sources of recovery.js, in js/src."""

CLIENT_BY_EXAMPLE: dict[str, tuple[str, str]] = {
    "accept a late reply after the next join": (
        "if (!this.#isStopped) this.#handleReply(queued, reply, round);",
        "this.#handleReply(queued, reply, round);",
    ),
    "send before storing the numbers": (
        "if (ready.some(({ isStored }) => !isStored)) this.#queue.save();\n    else this",
        "this",
    ),
    "continue from the join's number": (
        "let seq = this.#lastSeqBefore(place);",
        "let seq = this.#lastSentSeq;",
    ),
    "number only events that are sent": (
        "of events.slice(place))",
        "of events.slice(place, place + this.#room()))",
    ),
    "send in reverse order": (
        ".slice(0, this.#room());",
        ".slice(0, this.#room()).reverse();",
    ),
    "resend nothing after a cut": (
        'for (const queued of this.events) queued.stage = "queued";\n  }\n\n  /** Queue all later',
        "}\n\n  /** Queue all later",
    ),
    "send too far beyond the first event without a reply": (
        "const maxSeq = this.#acknowledgedSeq() + MAX_IN_FLIGHT;",
        "const maxSeq = Infinity;",
    ),
    "ignore a gap": (
        'reason === "seq_gap") return this.#handleGap(rest.seq, round);',
        'reason === "seq_gap") return undefined;',
    ),
    "report nothing that the storage lost": (
        'if (next > seq + 1) this.discard(later, "rolled_back");',
        "if (next > seq + 1) for (const queued of later) queued.seq = null;",
    ),
    "stay on a connection that has lost the join": (
        'reason === "unmatched topic") return this.#options.rejoin();',
        'reason === "unmatched topic") return;',
    ),
}
"""The same, for cases that the model rarely or never reaches: tests/js/events.test.js must fail."""
