"""Examples, pages and benchmarks use public names only: what they show, a user can write."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import boltzax

from .._source import dotted, shrinking

TREE = Path(__file__).parents[2]
OPEN = {"_asdict", "_replace", "_fields", "_exit"}
"""Public names of Python that have an underscore."""
PRIVATE: dict[str, int] = {}
"""How often a benchmark looks inside. The list may only become shorter."""


def public_names() -> dict[str, frozenset[str]]:
    """What each public module exports."""
    found = {}
    for info in [*pkgutil.walk_packages(boltzax.__path__, "boltzax."), None]:
        name = info.name if info else "boltzax"
        if "._" not in name:
            found[name] = frozenset(importlib.import_module(name).__all__)
    found["boltzax.plot"] = found["boltzax.report.plot"]
    return found


def code_of_page(text: str) -> str:
    """The Python code in a Markdown page."""
    cells = re.findall(r"^```(?:\{code-cell\}|python).*?\n(.*?)^```", text, re.M | re.S)
    return "\n".join(re.sub(r"^(:|%|---).*$", "", cell, flags=re.M) for cell in cells)


def private_uses(text: str, public: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Names of boltzax in a program that no public module exports, and private attributes."""
    bound = {}
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "boltzax":
                    bound[alias.asname or "boltzax"] = alias.name if alias.asname else "boltzax"
                    if alias.name not in public:
                        yield alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "boltzax":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if alias.name not in public.get(node.module, ()) and whole not in public:
                    yield whole
                elif whole in public:
                    bound[alias.asname or alias.name] = whole
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield from _reached(node, bound, public)


def _reached(node: ast.Attribute, bound, public) -> Iterator[str]:
    """The attribute, if it is one of a public module that does not export it, or private."""
    head, _, rest = dotted(node.value).partition(".")
    module = ".".join(part for part in (bound.get(head, "?"), rest) if part)
    if module in public:
        known = node.attr in public[module] or f"{module}.{node.attr}" in public
        if not known and node.attr != "__version__":
            yield f"{module}.{node.attr}"
    elif re.match("_[^_]", node.attr) and node.attr not in OPEN and head not in ("self", "cls"):
        yield f"{dotted(node.value) or '...'}.{node.attr}"


FOLDERS = ("examples", "studies", "benchmarks", "claims")
PROGRAMS = sorted(path for folder in FOLDERS for path in TREE.glob(f"{folder}/*.py"))
PAGES = sorted([TREE / "README.md", *TREE.glob("docs/*.md")])


def test_examples_pages_and_benchmarks_use_public_names():
    public, found = public_names(), {}
    for path in [*PROGRAMS, *PAGES]:
        text = path.read_text()
        uses = list(private_uses(code_of_page(text) if path.suffix == ".md" else text, public))
        if uses:
            found[str(path.relative_to(TREE))] = uses
    counts = {path: len(uses) for path, uses in found.items()}
    assert list(shrinking(counts, PRIVATE)) == [], found


PLANTED = {
    "import boltzax.core._estimate": "boltzax.core._estimate",
    "from boltzax.sample._loop import loop": "boltzax.sample._loop.loop",
    "from boltzax.core import nothing": "boltzax.core.nothing",
    "import boltzax as bx\nbx.nothing(1)": "boltzax.nothing",
    "import boltzax as bx\nbx.meanfield._train.State()": "boltzax.meanfield._train",
    "from boltzax import meanfield as mf\nmf.nothing": "boltzax.meanfield.nothing",
    "import boltzax as bx\nbx.plot.nothing()": "boltzax.plot.nothing",
    "import boltzax\nboltzax.nothing": "boltzax.nothing",
    "def f(trace): return trace._series": "trace._series",
    "f(1)._series": "...._series",
}


@pytest.mark.parametrize("text", PLANTED)
def test_a_private_name_is_caught(text):
    (found,) = private_uses(text, public_names())
    assert found == PLANTED[text]


def test_public_names_are_allowed():
    text = """
import boltzax as bx
from boltzax import meanfield as mf, theory
from boltzax.core import with_weights
bx.sample(bx.plot.trace, mf.solve, theory.regular, bx.__version__)
class A:
    def f(self): return self._a
"""
    assert list(private_uses(text, public_names())) == []


def test_the_code_of_a_page_is_all_its_cells():
    cells = "```{code-cell} python3\n:tags: [x]\nx = 1\n```\n```python\ny = 2\n```\n"
    page = f"# A\n{cells}```sh\nls\n```\n"
    assert code_of_page(page).split() == ["x", "=", "1", "y", "=", "2"]
    texts = [path.read_text() for path in PAGES]
    executed = [text for text in texts if "```{code-cell}" in text]
    assert len(executed) > 20 and all(ast.parse(code_of_page(text)).body for text in executed)
