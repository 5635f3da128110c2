"""Own what the model must catch: the two sides with one rule of theirs broken at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from recovery_app import fencing
from recovery_app._live import numbering, topic
from recovery_app._live.replies import Reply, ReplyCache
from recovery_app._live.session import Session
from recovery_app.consumers.application import TopicApplication
from recovery_app.fencing import Verdict, decide_save, decide_takeover
from recovery_app.snapshots import Header
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
    patch.setattr(topic.Topic, "_apply_once", apply_anything)


async def apply_anything(self: Any, session: Session, message: Any, numbers: Any) -> Reply:
    reply = await self._apply(session, message)
    session.replies.applied = numbers.seq - 1
    session.replies.add(reply)
    await session.save()
    return numbering.with_numbers(reply, safe=session.replies.safe)


def trim_one_reply_too_many(patch: Any) -> None:
    acknowledge = ReplyCache.acknowledge
    patch.setattr(ReplyCache, "acknowledge", lambda self, number: acknowledge(self, number + 1))


def keep_too_few_replies(patch: Any) -> None:
    patch.setattr("recovery_app._live.replies.MAX_REPLIES", 8)


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

    def only_good(self: ReplyCache, reply: Reply) -> None:
        if reply.is_ok:
            add(self, reply)

    patch.setattr(ReplyCache, "add", only_good)


def roll_nothing_back(patch: Any) -> None:
    async def nothing(self: TopicApplication, payload: bytes | None) -> None: ...

    patch.setattr(TopicApplication, "roll_back", nothing)


def ignore_the_fence(patch: Any) -> None:
    refuse = fencing.refuse

    def at_takeovers_only(header: Header, claim: Any, *, by_floor: bool = False) -> Any:
        return refuse(header, claim, by_floor=True) if by_floor else None

    def without_fence(stored: bytes | None, data: bytes) -> Any:
        if stored is not None:
            stored = replace(Header.read(stored), fence=0).put_on(stored)
        return decide_save(stored, data)

    patch.setattr(fencing, "refuse", at_takeovers_only)
    patch.setattr("recovery_app.storages.base.decide_save", without_fence)


def leave_the_floor(patch: Any) -> None:
    def decide(stored: bytes | None, data: bytes) -> Any:
        if stored is None:
            return decide_save(stored, data)
        floor = Header.read(stored).floor
        decision = decide_save(stored, data)
        if decision.data is not None:
            header = Header.read(decision.data)
            decision.data = replace(header, floor=floor).put_on(decision.data)
        return decision

    patch.setattr("recovery_app.storages.base.decide_save", decide)


def raise_the_floor_at_a_takeover(patch: Any) -> None:
    def decide(*arguments: Any, **options: Any) -> Any:
        decision = decide_takeover(*arguments, **options)
        if decision.verdict is Verdict.DONE and decision.data is not None:
            header = Header.read(decision.data)
            decision.data = replace(header, floor=header.fence).put_on(decision.data)
        return decision

    patch.setattr("recovery_app.storages.base.decide_takeover", decide)


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

    async def afresh(self: Session, token: object) -> Any:
        takeover = await take_over(self, token)
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
    "number anew after each join": (
        "for (const kept of waiting) kept.seq ??= ++last;",
        "for (const kept of waiting) kept.seq = ++last;",
    ),
    "go on from the join's number": (
        "let last = this.#lastGiven();",
        "let last = this.#sent;",
    ),
    "let go at the reply": (
        "!(kept.isAnswered && kept.isUpTo(this.#safe))",
        "!kept.isAnswered",
    ),
    "let go of what is safe without its reply": (
        "!(kept.isAnswered && kept.isUpTo(this.#safe))",
        "!kept.isUpTo(this.#safe)",
    ),
    "send again what was not add, and nothing else": (
        'for (const kept of later) kept.place = "here";',
        'for (const kept of later) kept.place = kept.isAnswered ? "there" : "here";',
    ),
    "send again in another order": (
        'const waiting = this.#at("here");',
        'const waiting = this.#at("here").reverse();',
    ),
    "acknowledge what has no reply": (
        "_ack: this.#acknowledged()",
        "_ack: this.#sent",
    ),
    "send before the numbers are stored": (
        "      this.#queue.save();\n      for (const kept of ready) this.#send(kept);",
        "      for (const kept of ready) this.#send(kept);",
    ),
    "reply once more": (
        'this.place = "there";\n      if (this.isAnswered) return;',
        'this.place = "there";',
    ),
    "bring what is kept to a fresh state": (
        "else this.lose(this.events.filter(({ isEarly }) => !isEarly), outcome);",
        "else for (const kept of this.events) kept.seq = null;",
    ),
    "send to a state that stands in for another": (
        'const WITHHELD = ["version", "unavailable"];',
        "const WITHHELD = [];",
    ),
    "send as much as there is": (
        "const MAX_ON_WIRE = 32;",
        "const MAX_ON_WIRE = 1_000;",
    ),
    "ask for nothing that is not known to be safe": (
        'if (last && this.#at("there").length === this.#queue.events.length) last.place = "here";',
        "",
    ),
    "wait for ever": (
        "this.#patience ??= setTimeout(() => this.#sendAgain(), this.#terms.timeoutMs);",
        "",
    ),
    "take an early event for one of an older state": (
        "this.events.filter(({ isEarly }) => !isEarly)",
        "this.events",
    ),
    "lose what it was told nothing of": (
        'if (outcome === "recovered") this.resume(seq);',
        'if (outcome === "never") this.resume(seq);',
    ),
    "keep what is kept in memory alone": (
        "this.events = shelf.load()",
        "this.events = []",
    ),
    "take a late reply for one of the next join": (
        "if (!this.#isOver) this.#receive(kept, reply, round);",
        "this.#receive(kept, reply, round);",
    ),
    "keep no token that is pushed": (
        'if (event === "recovery:token") this.keep(payload);\n      this.#pushed',
        "this.#pushed",
    ),
}
"""What of recovery.js is put in the place of what."""

CLIENT_BY_EXAMPLE: dict[str, tuple[str, str]] = {
    "number only what is sent": (
        "for (const kept of waiting) kept.seq ??= ++last;",
        "for (const kept of waiting.slice(0, room)) kept.seq ??= ++last;",
    ),
    "send nothing again after a cut": (
        'for (const kept of this.events) kept.place = "here";\n    }\n',
        "}\n",
    ),
    "send however far from the first without a reply": (
        "const farthest = this.#terms.isNumbered ? this.#acknowledged() + MAX_ON_WIRE : Infinity;",
        "const farthest = Infinity;",
    ),
    "go on over a gap": (
        'own.reason === "seq_gap") return this.#goOn(own.seq, round);',
        'own.reason === "seq_gap") return undefined;',
    ),
    "say nothing of what the storage lost": (
        'if (next > seq + 1) this.lose(later, "rolled_back");',
        "if (next > seq + 1) for (const kept of later) kept.seq = null;",
    ),
    "wait on a connection that knows no join": (
        'own.reason === "unmatched topic") return this.#terms.rejoin();',
        'own.reason === "unmatched topic") return;',
    ),
}
"""The same, where the model seldom or never goes: tests/js/events.test.js must find it."""
