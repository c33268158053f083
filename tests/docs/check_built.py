"""The documentation as it was built: `nox -s docs` runs this after Sphinx.

Every public name and each of its parameters stands in the reference; no mark-up is left over and
nothing is said twice; and no page shows a warning, or a path of the machine that built it.
"""

import itertools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.util.inventory import InventoryFile

from ._public import parameters, public_names

ROOT = Path(__file__).parents[2]
BUILT = Path(os.environ.get("BOLTZAX_DOCS", ROOT / "docs" / "_build" / "html"))
PATHS = {str(ROOT), sys.prefix, str(Path.home()), tempfile.gettempdir() + "/", "site-packages"}

BUILDER = {str(ROOT), sys.prefix}
"""What must stand nowhere in a page, code and links included."""

LEFT_OVER = re.compile(
    r"^.*(?:\*\*|`|Args:|Arguments:|Arguments$|\bcalled\)|Annotated\[).*$", re.MULTILINE
)


@pytest.fixture(scope="module")
def pages() -> dict[str, BeautifulSoup]:
    """The article of every page."""
    texts = {path: path.read_text() for path in sorted(BUILT.rglob("*.html"))}
    soups = {str(p.relative_to(BUILT)): BeautifulSoup(t, "html.parser") for p, t in texts.items()}
    return {name: soup for name, soup in soups.items() if soup.find("article")}


@pytest.fixture(scope="module")
def entries(pages) -> dict[str, BeautifulSoup]:
    """The entry of every documented name: its signature and its text."""
    found = {}
    for name, page in pages.items():
        for title in page.find_all("dt", id=True) if name.startswith("reference/") else ():
            found[title["id"]] = title.parent
    return found


def told(entry) -> set[str]:
    """The parameters that an entry describes, those of its own methods left out."""
    body = entry.find("dd", recursive=False)
    if body is None:
        return set()
    lists = body.find_all("dl", class_="field-list", recursive=False)
    return {each.get_text() for fields in lists for each in fields.find_all("strong")}


def test_every_public_name_is_in_the_inventory():
    inventory = InventoryFile.loads((BUILT / "objects.inv").read_bytes(), uri="").data
    there = {name for kind in inventory if kind.startswith("py:") for name in inventory[kind]}
    assert sorted(set(public_names()) - there) == []


def test_every_parameter_is_told(entries):
    missing = {}
    for name, value in public_names().items():
        if entries[name].find("dd").get_text().strip().startswith("alias of"):
            continue  # told where it has its own name
        if (getattr(value, "__module__", None) or "").startswith("boltzax"):
            wanted, there = parameters(value), told(entries[name])
        else:  # a distribution of NumPyro: its signature is written by hand
            wanted = [each for each in parameters(value) if each != "validate_args"]
            there = set(re.findall(r"\w+", entries[name].find("dt").get_text()))
        missing |= {name: lacking} if (lacking := sorted(set(wanted) - there)) else {}
    assert missing == {}


def test_the_reference_is_clean(pages):
    """No mark-up in print, and no paragraph or item of a list twice in a row."""
    wrong = []
    for name, page in pages.items():
        if not name.startswith("reference/"):
            continue
        for code in [*page.find_all(["code", "pre"]), *page.find_all("dt", class_="sig")]:
            code.replace_with("x")
        text = page.find("article").get_text()
        wrong += [(name, hit) for hit in LEFT_OVER.findall(text)]
        for tag in ("p", "li", "dd"):
            said = [" ".join(each.get_text().split()) for each in page.find_all(tag)]
            pairs = itertools.pairwise(said)
            wrong += [(name, a) for a, b in pairs if a == b and len(a) > 60]
    assert wrong == []


def test_every_picture_is_described(pages):
    """A text of its own for each; the default is the name of the file."""
    wrong = []
    for name, page in pages.items():
        for picture in page.find("article").find_all("img"):
            text = str(picture.get("alt") or "").strip()
            if " " not in text or re.search(r"\.(png|svg|jpe?g)$", text):
                wrong.append((name, picture.get("src"), text))
    assert wrong == []


def test_every_figure_of_a_cell_is_drawn(pages):
    """A page has the picture of each description that its source gives."""
    wrong, count = [], 0
    for path in sorted((ROOT / "docs").glob("*.md")):
        wanted = re.findall(r"^:mystnb: \{image: \{alt: '([^']*)'", path.read_text(), re.MULTILINE)
        there = [picture.get("alt") for picture in pages[f"{path.stem}.html"].find_all("img")]
        wrong += [(path.stem, text) for text in wanted if text not in there]
        count += len(wanted)
    assert wrong == []
    assert count > 50


def test_no_page_shows_a_warning_or_a_path_of_the_builder(pages):
    wrong = []
    for name, page in pages.items():
        for output in page.find_all(class_="cell_output"):
            text = output.get_text()
            wrong += [(name, hit) for hit in re.findall(r".*Warning.*", text)]
            wrong += [(name, path) for path in PATHS if path in text]
    assert wrong == []


def test_no_page_names_a_folder_of_the_builder(pages):
    texts = {name: str(page) for name, page in pages.items()}
    assert [(name, path) for name in texts for path in BUILDER if path in texts[name]] == []


def test_pages_need_nothing_from_elsewhere(pages):
    """No script, style, font or picture of another server: formulas are MathML."""
    formulas, wrong = 0, []
    for name, page in pages.items():
        parts = [*page.find_all(src=True), *page.find_all("link", rel="stylesheet")]
        places = [part.get("src") or part.get("href") for part in parts]
        wrong += [(name, place) for place in places if place.startswith(("http", "//"))]
        places = page.find_all(class_="math")
        wrong += [(name, part.get_text()) for part in places if part.find("math") is None]
        formulas += len(places)
    assert wrong == []
    assert formulas > 1000


def test_code_has_a_button_to_copy_it(pages):
    scripts = [part["src"] for part in pages["start.html"].find_all("script", src=True)]
    assert any("copybutton" in place for place in scripts)


def test_code_and_output_fit_on_a_page(pages):
    """In 88 columns; of the reference, whose code is that of docstrings, in 100."""
    wrong, count = [], 0
    for name, page in pages.items():
        most = 100 if name.startswith("reference/") else 88
        lines = [
            x for block in page.select("div.highlight pre") for x in block.get_text().split("\n")
        ]
        wrong += [(name, line) for line in lines if len(line) > most]
        count += len(lines)
    assert wrong == []
    assert count > 5000


SEARCH = """
const vm = require("vm"), fs = require("fs");
const [folder, ...queries] = process.argv.slice(1);
const nothing = () => null;
const page = {readyState: "loading", getElementById: nothing, addEventListener: nothing};
const context = vm.createContext({document: page, localStorage: {setItem: nothing}, queries});
context.window = context;
const scripts = ["documentation_options", "doctools", "sphinx_highlight", "searchtools"];
const files = [...scripts, "language_data"].map(name => `_static/${name}.js`);
for (const file of [...files, "searchindex.js"])
  vm.runInContext(fs.readFileSync(`${folder}/${file}`, "utf8"), context);
const found = "queries.map(q => Search._performSearch(...Search._parseQuery(q)).at(-1)[0])";
console.log(JSON.stringify(vm.runInContext(found, context)));
"""
"""The page that the search of the built pages shows first, by its own scripts."""

FIRST = {
    "install": "start",
    "which sampler": "choose",
    "save": "recipes",
    "Poisson": "recipes",
    "transformer": "real_networks",
    "checkpoint": "long_runs",
    "coming from devinterp": "coming_from",
    "extending": "extending",
    "haiku": "composing",
    "glossary": "glossary",
    "bibliography": "bibliography",
    "GPU": "scaling",
    "local_learning_coefficient": "reference/observe",
}
"""What newcomers search for, and the page that they should find."""


def test_the_search_finds_the_right_page_first():
    node = runpy.run_path(str(ROOT / "docs" / "_mathml.py"))["node"]
    command = [node(), "-e", SEARCH, str(BUILT), *FIRST]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert dict(zip(FIRST, json.loads(said), strict=True)) == FIRST
