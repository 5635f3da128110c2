"""The texts of the package that are translated, and their catalogues.

``python -m tests.support.messages`` (``make messages``) writes the catalogues anew: it adds and
removes what the code has added and removed, and compiles them. It needs no GNU gettext.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import polib
from django.utils.translation.template import templatize

from tests.support.processes import TOP

LANGUAGES = {
    "de": "nplurals=2; plural=(n != 1);",
    "en": "nplurals=2; plural=(n != 1);",
    "es": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=(n > 1);",
}
PACKAGE = TOP / "recovery_app"
FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop"}
PLURALS = {"ngettext", "ngettext_lazy"}
STRING = r"""u?('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
CALL = re.compile(rf"\b(n?gettext|_)\(\s*{STRING}(?:\s*,\s*{STRING})?")

Text = tuple[str, str]
"""A text, and its plural or nothing."""


def extract() -> dict[Text, set[str]]:
    """Return each text of the package that is marked, with the files where it is."""
    found: dict[Text, set[str]] = defaultdict(set)
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]:
        read = _in_python if path.suffix == ".py" else _in_template
        for text in read(path):
            found[text].add(str(path.relative_to(PACKAGE)))
    return found


def _in_python(path: Path) -> Iterator[Text]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        wanted = 2 if node.func.id in PLURALS else 1 if node.func.id in FUNCTIONS else 0
        texts = [each.value for each in node.args[:wanted] if isinstance(each, ast.Constant)]
        if texts and all(isinstance(text, str) for text in texts):
            yield str(texts[0]), str(texts[1]) if wanted == 2 else ""


def _in_template(path: Path) -> Iterator[Text]:
    for name, one, many in CALL.findall(templatize(path.read_text(), origin=str(path))):
        yield _spoken(one), _spoken(many) if many and name == "ngettext" else ""


def _spoken(literal: str) -> str:
    text: str = ast.literal_eval(literal)
    return text


def catalogue(language: str) -> Path:
    """Return the path of a language's texts."""
    return PACKAGE / "locale" / language / "LC_MESSAGES/django.po"


def update(language: str) -> polib.POFile:
    """Write a language's catalogue anew, and return it; what it lacks has to be translated."""
    path = catalogue(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {(e.msgid, e.msgid_plural): e for e in polib.pofile(path)} if path.exists() else {}
    texts = polib.POFile(wrapwidth=100)
    texts.metadata = {
        "Project-Id-Version": "django-recovery-app",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": LANGUAGES[language],
    }
    for (one, many), files in sorted(extract().items(), key=lambda each: (min(each[1]), each[0])):
        entry = known.get((one, many)) or _empty(one, many)
        entry.occurrences = [(file, "") for file in sorted(files)]
        if language == "en":
            _fill_in(entry)
        texts.append(entry)
    texts.save(str(path))
    texts.save_as_mofile(str(path.with_suffix(".mo")))
    return texts


def _empty(one: str, many: str) -> polib.POEntry:
    entry = polib.POEntry(msgid=one, msgid_plural=many)
    if many:
        entry.msgstr_plural = {0: "", 1: ""}
    if "%(" in one or "%s" in one:
        entry.flags = ["python-format"]
    return entry


def _fill_in(entry: polib.POEntry) -> None:
    """Translate English into itself, for sites whose usual language is another."""
    if entry.msgid_plural:
        entry.msgstr_plural = {0: entry.msgid, 1: entry.msgid_plural}
    else:
        entry.msgstr = entry.msgid


def main() -> None:
    """Update all catalogues, and say what isn't translated."""
    for language in LANGUAGES:
        texts = update(language)
        left = texts.untranslated_entries()
        print(f"{language}: {len(texts) - len(left)} of {len(texts)} texts are translated.")
        for entry in left:
            print(f"  {entry.msgid!r}")


if __name__ == "__main__":
    main()
