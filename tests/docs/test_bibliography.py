"""One bibliography: what pages and docstrings cite is in it, and what is in it is cited."""

import ast
import functools
import re
from pathlib import Path

import pytest

database = pytest.importorskip("pybtex.database")

ROOT = Path(__file__).parents[2]
ENTRIES = database.parse_file(str(ROOT / "docs" / "references.bib")).entries
PAGES = sorted((ROOT / "docs").glob("*.md"))

BOOKS = {"book", "incollection"}  # a publisher says where to find them
WITHOUT = {"aoyagi2005layered", "aoyagi2010", "bai2012", "himeno2014"}
"""Articles of which no DOI is known for certain."""

NAME = r"[A-ZÅČŠ][\w'’-]+"
CITED = re.compile(
    rf"(?<!\w)({NAME}(?:,? (?:(?:and |& )?{NAME}))*)(?: et al\.)?,? \(?((?:19|20)\d\d)\b"
)
"""`Roberts, Gelman, Gilks 1997`, `Del Moral et al. 2006`, `Wilson (1927)`."""


def docstrings(path: Path) -> str:
    """All strings of a file that stand alone, on one line."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Expr)]
    texts = [node.value.value for node in nodes if isinstance(node.value, ast.Constant)]
    return " ".join(" ".join(text.split()) for text in texts if isinstance(text, str))


def surname(key: str) -> str:
    first = ENTRIES[key].persons["author"][0]
    return " ".join([*first.prelast_names, *first.last_names])


def keys_of(names: str, year: str) -> list[str]:
    """The entries that an author and a year name."""
    same = [key for key, entry in ENTRIES.items() if entry.fields["year"] == year]
    return [key for key in same if re.search(rf"\b{re.escape(surname(key))}\b", names)]


@functools.cache
def cited_by_code() -> dict[str, list[str]]:
    """Every citation of a docstring, with the entries that it names."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for names, year in CITED.findall(docstrings(path)):
            found[f"{path.name}: {names} {year}"] = keys_of(names, year)
    return found


def cited_by_pages() -> set[str]:
    text = " ".join(path.read_text() for path in PAGES)
    keys = re.findall(r"\{cite:\w\}`([\w,]+)`", text)
    listed = {key for key, entry in ENTRIES.items() if address(entry) in text and address(entry)}
    return {key for some in keys for key in some.split(",")} | listed


def address(entry) -> str:
    """How the page of claims, which is written by a program, names a source."""
    arxiv = entry.fields.get("doi", "").partition("arXiv.")[2]
    return f"arXiv:{arxiv}" if arxiv else entry.fields.get("url", "")


def test_each_entry_can_be_found():
    for key, entry in ENTRIES.items():
        places = {"doi", "url"} & set(entry.fields)
        assert places or key in WITHOUT or entry.type in BOOKS, key
        assert not places or key not in WITHOUT
        assert re.fullmatch(r"10\.\d{4,5}/\S+|", entry.fields.get("doi", "")), key
        assert re.fullmatch(r"https://\S+|", entry.fields.get("url", "")), key
    marks = [entry.fields.get("doi") for entry in ENTRIES.values() if "doi" in entry.fields]
    assert len(marks) == len(set(marks))


def test_what_is_cited_is_listed():
    assert [where for where, keys in cited_by_code().items() if not keys] == []
    assert sorted(cited_by_pages() - set(ENTRIES)) == []


def test_what_is_listed_is_cited():
    by_code = {key for keys in cited_by_code().values() for key in keys}
    assert len(by_code) > 100
    assert sorted(set(ENTRIES) - by_code - cited_by_pages()) == []
