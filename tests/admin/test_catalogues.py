"""The translations of the admin are complete, and say what the English texts say."""

from __future__ import annotations

import re
from collections import Counter

import polib
import pytest
from django.utils import translation
from django.utils.translation import gettext, ngettext

from tests.support.messages import LANGUAGES, catalogue, extract

ADVICE = 'Run "make messages", translate what it names, and run it again.'
# Placeholders and tags.
PARTS = re.compile(r"%\(\w+\)s|%s|<[^>]+>")
each_language = pytest.mark.parametrize("language", LANGUAGES)


def texts_of(language: str) -> polib.POFile:
    """Return the catalogue of a language, as people edit it."""
    return polib.pofile(str(catalogue(language)))


@each_language
def test_each_text_is_in_the_catalogue_and_no_other(language: str) -> None:
    entries = {(entry.msgid, entry.msgid_plural) for entry in texts_of(language)}
    assert entries == set(extract()), ADVICE


@each_language
def test_each_text_is_translated(language: str) -> None:
    texts = texts_of(language)
    assert [entry.msgid for entry in texts.untranslated_entries()] == [], ADVICE
    assert [entry.msgid for entry in texts.fuzzy_entries() + texts.obsolete_entries()] == []


@each_language
def test_placeholders_and_tags_are_those_of_the_text(language: str) -> None:
    for entry in texts_of(language):
        said = entry.msgstr_plural.values() if entry.msgid_plural else [entry.msgstr]
        for form, text in enumerate(said):
            original = entry.msgid_plural if form else entry.msgid
            assert Counter(PARTS.findall(text)) == Counter(PARTS.findall(original)), text


@each_language
def test_what_is_compiled_is_what_was_translated(language: str) -> None:
    path = catalogue(language).with_suffix(".mo")
    assert path.read_bytes() == texts_of(language).to_binary(), ADVICE


@pytest.mark.parametrize(
    ("language", "text", "counts"),
    [
        ("de", "Snapshots widerrufen", ["0 Einträge", "1 Eintrag", "2 Einträge"]),
        ("en", "Revoke snapshots", ["0 items", "1 item", "2 items"]),
        ("es", "Revocar instantáneas", ["0 elementos", "1 elemento", "2 elementos"]),
        ("fr", "Révoquer des instantanés", ["0 élément", "1 élément", "2 éléments"]),
    ],
)
def test_django_finds_it(language: str, text: str, counts: list[str]) -> None:
    with translation.override(language):
        assert gettext("Revoke snapshots") == text
        said = [ngettext("%(counter)s item", "%(counter)s items", n) for n in range(3)]
    assert [each % {"counter": n} for n, each in enumerate(said)] == counts
