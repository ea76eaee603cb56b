"""Citations and terms on the pages lead somewhere, and every entry of the bibliography is cited."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = ("auto_examples", "generated", "_build")
VENUES = ("journal", "booktitle", "publisher", "eprint")

ENTRY = re.compile(r"^@(\w+)\{([^,]+),\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.M)
CITATION = re.compile(r"(?:\{|:)cite:[a-z]+(?:\}|:)`([^`]+)`")
TERM = re.compile(r"\{term\}`(?:[^`<]*<([^`>]+)>|([^`<]+))`")


def plain(text):
    """Without accents and braces: docstrings write names in ASCII here and there."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[{}]", "", text)


def read_entries():
    """Return the keys, in the order of the file, and the fields of each entry."""
    text = (DOCS / "references.bib").read_text(encoding="utf-8")
    found = ENTRY.findall(text)
    assert len(found) == len(re.findall(r"^@", text, re.M)), "an entry is not written as the others"
    return [key for _, key, _ in found], {key: dict(FIELD.findall(body)) for _, key, body in found}


KEYS, ENTRIES = read_entries()


def pages():
    """Return path and text of the pages that are written by hand, and of the gallery's sources."""
    paths = [p for ending in ("md", "rst") for p in DOCS.rglob(f"*.{ending}")]
    paths += (ROOT / "examples").rglob("plot_*.py")
    for path in sorted(paths):
        if not set(path.relative_to(ROOT).parts) & set(GENERATED):
            yield path, path.read_text(encoding="utf-8")


def cited_keys(text):
    return {key.strip() for keys in CITATION.findall(text) for key in keys.split(",")}


def surname(entry):
    """Return the family name of the first author."""
    return plain(entry["author"].split(" and ")[0].split(",")[0])


def test_citations_have_an_entry():
    missing = {
        str(path.relative_to(ROOT)): unknown
        for path, text in pages()
        if (unknown := cited_keys(text) - set(KEYS))
    }
    assert not missing


def test_pages_are_found_and_cite():
    assert sum(len(cited_keys(text)) for _, text in pages()) > 10


def test_every_entry_is_cited():
    cited = set().union(*(cited_keys(text) for _, text in pages()))
    # Docstrings, and pages that are written by a program, name author and year.
    named = plain(
        "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "skot").rglob("*.py"))
        + "\n".join(text for _, text in pages())
    )
    idle = [
        key
        for key, entry in ENTRIES.items()
        if key not in cited
        and not re.search(rf"\b{surname(entry)}\b[^\[]{{0,160}}?\b{entry['year']}\b", named)
    ]
    assert not idle


def test_docstrings_cite_what_has_an_entry():
    known = {(surname(entry), entry["year"]) for entry in ENTRIES.values()}
    reference = re.compile(r"\.\. \[\d+\] (.+?\b(?:19|20)\d\d\b)", re.S)
    missing = set()
    for path in (ROOT / "skot").rglob("*.py"):
        for text in reference.findall(plain(path.read_text(encoding="utf-8"))):
            year = text[-4:]
            if not any(year == y and re.search(rf"\b{name}\b", text) for name, y in known):
                missing.add((path.name, text))
    assert not missing


@pytest.mark.parametrize("key", KEYS)
def test_entry_is_complete(key):
    entry = ENTRIES[key]
    assert {"author", "title", "year"} <= set(entry)
    assert any(venue in entry for venue in VENUES)
    assert re.fullmatch(r"(19|20)\d\d", entry["year"])
    assert key.startswith(surname(entry).lower().replace(" ", "") + entry["year"])


def test_no_entry_occurs_twice():
    assert sorted(set(KEYS)) == KEYS
    titles = [plain(entry["title"]).lower() for entry in ENTRIES.values()]
    assert len(titles) == len(set(titles))


def test_terms_are_in_the_glossary():
    """Sphinx is silent about them where scikit-learn's own glossary cannot be reached."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\{glossary\}\n(.*?)^```", text, re.M | re.S)
    terms = [line.lower() for block in blocks for line in re.findall(r"^\S.*$", block, re.M)]
    assert len(terms) == len(set(terms))
    used = {
        (aimed_at or shown).lower()
        for path, page in pages()
        for aimed_at, shown in TERM.findall(page)
    }
    assert used
    assert used <= set(terms)
