"""The verdict on durable groups: whether each page has handled each message once and in order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that a publisher has sent to a group.

    If its publish raised, it is uncertain whether it was published: its publisher has then sent
    another one in its place, with an id of its own.
    """

    id: str
    group: str
    publisher: int
    is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMessages:
    """The ids that a page has handled, in order; ``None`` where it was told of missed messages."""

    groups: Sequence[str]
    handled: Sequence[str | None]

    @property
    def has_missed(self) -> bool:
        """Return whether the page was told that messages were gone."""
        return None in self.handled

    @property
    def ids(self) -> list[str]:
        """Return the ids in order."""
        return [each for each in self.handled if each is not None]


@dataclass(slots=True, kw_only=True)
class MessageVerdict:
    """What became of the messages.

    A message is lost for a page that lacks it, unless the page was told of missed messages. An
    uncertain message that any page of its group has handled was published, for all of them;
    but a page that was told may have handled it before a failover has undone it.
    """

    published: int = 0
    uncertain: int = 0
    handled: int = 0
    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    missing_pages: int = 0
    """The pages that were told of missed messages."""
    differences: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Return whether each page has each message once and in order."""
        return not (self.lost or self.twice or self.out_of_order or self.differences)

    def __str__(self) -> str:
        return (
            f"messages: {self.published} published, {self.uncertain} uncertain, {self.handled} "
            f"handled, {self.missing_pages} pages told of missed ones; {self.lost} lost, "
            f"{self.twice} twice, {self.out_of_order} out of order"
        )


def judge(sent: Iterable[Message], pages: Sequence[PageMessages]) -> MessageVerdict:
    """Return what became of the messages on the pages, which were in their groups all the time."""
    messages = {message.id: message for message in sent}
    certain = sum(message.is_certain for message in messages.values())
    verdict = MessageVerdict(published=certain, uncertain=len(messages) - certain)
    logs = _logs(messages, pages)
    for number, page in enumerate(pages):
        verdict.handled += len(page.ids)
        verdict.missing_pages += page.has_missed
        for problem in _judge_page(verdict, messages, logs, page):
            verdict.differences.append(f"page {number}: {problem}")
    return verdict


def _judge_page(
    verdict: MessageVerdict,
    messages: Mapping[str, Message],
    logs: Mapping[str, Mapping[str, int]],
    page: PageMessages,
) -> Iterator[str]:
    counts = Counter(page.ids)
    expected = {each for group in page.groups for each in _expected(messages, logs, group)}
    if strange := [each for each in counts if each not in expected | _undone(messages, page)]:
        yield f"handled {_shown(strange)}, published to none of its groups"
    if twice := [each for each, count in counts.items() if count > 1]:
        verdict.twice += counts.total() - len(counts)
        yield f"handled {_shown(twice)} more than once"
    lost = sorted(expected - counts.keys())
    if lost and not page.has_missed:
        verdict.lost += len(lost)
        yield f"has lost {_shown(lost)}"
    for group in page.groups:
        order = [each for each in counts if each in expected and messages[each].group == group]
        if late := list(_out_of_order(messages, logs[group], order)):
            verdict.out_of_order += len(late)
            yield f"handled {_shown(late)} of {group} out of order"


def _logs(
    messages: Mapping[str, Message], pages: Sequence[PageMessages]
) -> dict[str, dict[str, int]]:
    """Return the places of messages in each group, as the page with most of them has them.

    A page that was told of missed messages may have handled some that a failover has undone.
    """
    logs: dict[str, dict[str, int]] = defaultdict(dict)
    for page in sorted(pages, key=lambda each: each.has_missed):
        orders: dict[str, dict[str, int]] = {group: {} for group in page.groups}
        for each in page.ids:
            if each in messages and messages[each].group in orders:
                orders[messages[each].group].setdefault(each, len(orders[messages[each].group]))
        for group, order in orders.items():
            if not (page.has_missed and logs[group]):
                logs[group] = max(logs[group], order, key=len)
    return logs


def _undone(messages: Mapping[str, Message], page: PageMessages) -> set[str]:
    """Return what may have been published and then undone, as the page was told."""
    if not page.has_missed:
        return set()
    mine = (messages[each] for each in page.ids if each in messages)
    return {each.id for each in mine if not each.is_certain and each.group in page.groups}


def _expected(
    messages: Mapping[str, Message], logs: Mapping[str, Mapping[str, int]], group: str
) -> Iterator[str]:
    """Yield the messages that each page of a group should have."""
    for message in messages.values():
        if message.group == group and (message.is_certain or message.id in logs[group]):
            yield message.id


def _out_of_order(
    messages: Mapping[str, Message], log: Mapping[str, int], order: Sequence[str]
) -> Iterator[str]:
    """Yield messages that come behind a later one: of their publisher, or in the common order.

    An uncertain message may be published late, so it has no place among its publisher's.
    """
    common = [each for each in order if each in log]
    yield from (later for earlier, later in pairwise(common) if log[later] < log[earlier])
    sent = {each: place for place, each in enumerate(messages)}
    own: dict[int, list[str]] = defaultdict(list)
    for each in order:
        if messages[each].is_certain:
            own[messages[each].publisher].append(each)
    for ids in own.values():
        yield from (later for earlier, later in pairwise(ids) if sent[later] < sent[earlier])


def _shown(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MAX_SHOWN} more" if len(ids) > MAX_SHOWN else ""
    return f"{', '.join(ids[:MAX_SHOWN])}{more}"
