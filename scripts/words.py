"""Prints docs/words.md: which words no native speaker has read yet, and their share, from every catalogue of the
checkout.

    PYTHONPATH=src python -m scripts.words > docs/words.md

A .po file that says at its head that it is not yet read counts as unread, but for the entries with the comment
`# read by a native speaker`. The words of the operations centre (JSON has no comments) count as unread until they move
to such a file. English is what the words were first written in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shahar.web.pages import words

ROOT = Path(__file__).resolve().parents[1]
WRITTEN_IN = "en"
HEAD = """\
# Words

Pages and notices speak Uzbek in Latin letters (the default) and in Cyrillic ones, Russian, Karakalpak and English. The
words were written by the authors of the platform; a native speaker has to read each of them before it can be trusted.
This page is made from the catalogues, and a test fails when the two differ. To make it again:

    PYTHONPATH=src python -m scripts.words > docs/words.md

## Read by a native speaker

| words | language | all | not yet read | share |
|---|---|---|---|---|
"""
HOW = """
## How to read them

1. Open the catalogue: `src/shahar/web/pages/words/LANGUAGE.po`, `src/shahar/systems/SYSTEM/words/LANGUAGE.po`. `msgid`
   is the key, `msgstr` the text. `{name}` is a place for a value and stays as it is. Uzbek uses \u02bb (U+02BB) in
   o\u02bb and g\u02bb, and \u02bc (U+02BC) elsewhere.
2. Mend what you would say differently.
3. Write `# read by a native speaker` on the line above each entry that is good. When you have read the whole file, take
   out the line `# Not yet read by a native speaker.` at its head instead.
4. Make this page again and send the change.

Karakalpak needs it most: numbers, months and ages are ours too, since no library has them.
"""


@dataclass(frozen=True)
class Row:
    """One catalogue: whose words, in which language, how many, and the keys that nobody has read."""

    whose: str
    language: str
    all: int
    unread: tuple[str, ...]


def rows() -> Iterator[Row]:
    """Every catalogue of the checkout, in the order of the languages."""
    folders = {"pages": words.FOLDER}
    folders |= {path.parent.name: path for path in sorted((ROOT / "src" / "shahar" / "systems").glob("*/words"))}
    for whose, folder in folders.items():
        for language in words.LANGUAGES:
            catalogue = words.read(folder / f"{language}.po")
            yield Row(whose, language, len(words.texts_of(catalogue)), tuple(words.unread(catalogue)))
    for language in words.LANGUAGES:
        keys = sorted(json.loads((ROOT / "ui" / "src" / "words" / f"{language}.json").read_text("utf-8")))
        yield Row("operations centre", language, len(keys), () if language == WRITTEN_IN else tuple(keys))


def document() -> str:
    """The text of docs/words.md."""
    found = list(rows())
    table = [_line(row) for row in found]
    total, unread = sum(row.all for row in found), sum(len(row.unread) for row in found)
    table.append(f"| **all** | | {total} | {unread} | **{round(100 * unread / total)} %** |")
    return HEAD + "\n".join(table) + "\n" + HOW + "\n## Not yet read\n\n" + "\n".join(_listed(found)) + "\n"


def _line(row: Row) -> str:
    share = round(100 * len(row.unread) / row.all)
    return f"| {row.whose} | {row.language} | {row.all} | {len(row.unread)} | {share} % |"


def _listed(found: list[Row]) -> Iterator[str]:
    """The keys that wait, once for all languages in which they do."""
    for whose in dict.fromkeys(row.whose for row in found):
        waiting: dict[str, list[str]] = {}
        for row in found:
            for key in row.unread if row.whose == whose else ():
                waiting.setdefault(key, []).append(row.language)
        for languages in sorted({tuple(tongues) for tongues in waiting.values()}):
            keys = ", ".join(f"`{key}`" for key, tongues in sorted(waiting.items()) if tuple(tongues) == languages)
            yield f"- **{whose}** ({', '.join(languages)}): {keys}"


if __name__ == "__main__":
    print(document(), end="")
