"""The names of values that the admin hides, as the setting ``REDACT`` says.

A part is looked for anywhere in a name, in any case. Parts of up to four letters would hide half
of an ordinary state ("pin" is in "shipping", "auth" in "author", "ssn" in "className"), so these
have to be a word of the name: between separators, digits or camelCase boundaries, or in a
compound that is usually written as one word, such as "creditcard".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

MAX_SHORT_LENGTH = 4

_SEPARATORS = re.compile(r"[\W_]+")
_BETWEEN_WORDS = re.compile(r"[\W\d_]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BEFORE = "access|api|bank|basic|bearer|credit|debit|gift|http|my|new|o|old|pay|proxy|sim|user|x"
_AFTER = (
    "s|code|data|digits|entication|hash|header|holder|id|info|key|no|num|number|orisation"
    "|orization|owner|pass|value"
)

Matcher = Callable[[str], bool]


class Redactor:
    """A matcher of sensitive names by the parts that make a name sensitive."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._matchers = [_matcher_of(part) for part in parts]

    def hides(self, name: str) -> bool:
        """Return whether a value with this name is sensitive."""
        return any(matches(name) for matches in self._matchers)


def _matcher_of(part: str) -> Matcher:
    folded = _fold(part)
    if folded.isascii() and folded.isalpha() and len(folded) <= MAX_SHORT_LENGTH:
        word = re.compile(f"(?:{_BEFORE})?{folded}(?:{_AFTER})?")
        return lambda name: any(map(word.fullmatch, _words(name)))
    joined = _SEPARATORS.sub("", folded)
    if joined and joined != folded:
        # "api_key" is also "apiKey", "api-key" and "apikey".
        return lambda name: joined in _SEPARATORS.sub("", _fold(name))
    return lambda name: folded in _fold(name)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _words(name: str) -> Iterable[str]:
    for word in _BETWEEN_WORDS.split(unicodedata.normalize("NFKC", name)):
        yield word.casefold()
        yield from map(str.casefold, _CAMEL_CASE.split(word))
