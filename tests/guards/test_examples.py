"""Examples are short, and examples and studies have the same flags."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
MOST, MOST_SHARED = 80, 110
"""Lines of an example, and of a file that several of them share."""
FLAGS = {"seed", "quick", "json", "figure"}

FOLDERS = ("examples", "studies")
TEXTS = {
    f"{folder}/{path.stem}": path.read_text()
    for folder in FOLDERS
    for path in sorted((TREE / folder).glob("*.py"))
}


def is_program(name: str) -> bool:
    return not name.split("/")[1].startswith("_")


PROGRAMS = [name for name in TEXTS if is_program(name)]


def too_long(texts: Mapping[str, str]) -> Iterator[str]:
    """Examples with more lines than allowed."""
    for name, text in texts.items():
        most = MOST if is_program(name) else MOST_SHARED
        lines = len(text.splitlines())
        if name.startswith("examples/") and lines > most:
            yield f"{name}: {lines} lines, {most} at most"


def flags(name: str, options: str, texts: Mapping[str, str]) -> set[str]:
    """The fields of a class of options, with those of its bases in files it imports them from."""
    tree = ast.parse(texts[name])
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if options in classes:
        node = classes[options]
        own = {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        return own.union(*(flags(name, base, texts) for base in bases))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and options in [alias.name for alias in node.names]:
            origin = "/".join(["examples", *(node.module or "").split(".")][-2:])
            return flags(origin, options, texts) if origin in texts else set()
    return set()


def used(text: str) -> set[str]:
    """Fields of `options`, or of the argument of `main`, that a program reads."""
    nodes = list(ast.walk(ast.parse(text)))
    mains = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "main"]
    given = {"options"}.union(*({arg.arg for arg in node.args.args} for node in mains))
    reads = [node for node in nodes if isinstance(node, ast.Attribute)]
    names = {node.attr for node in reads if getattr(node.value, "id", "") in given}
    return names | ({"quick"} if "sized" in names else set())


def test_examples_are_short():
    assert list(too_long(TEXTS)) == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_flags_are_the_same_everywhere(name):
    assert flags(name, "Options", TEXTS) >= FLAGS
    shared = {stem: text for stem, text in TEXTS.items() if not is_program(stem)}
    helpers = [
        text for stem, text in shared.items() if f"from {stem.split('/')[1]} " in TEXTS[name]
    ]
    assert used("\n".join([TEXTS[name], *helpers])) >= FLAGS - {"seed"}


def test_every_program_says_what_it_shows():
    assert [name for name, text in TEXTS.items() if not ast.get_docstring(ast.parse(text))] == []


def test_a_long_example_is_caught():
    long = {"examples/a": "x\n" * 81, "examples/_b": "x\n" * 81, "studies/c": "x\n" * 999}
    assert list(too_long(long)) == ["examples/a: 81 lines, 80 at most"]
    assert list(too_long({"examples/_b": "x\n" * 111})) == ["examples/_b: 111 lines, 110 at most"]


def test_flags_are_found_through_shared_files():
    texts = {
        "examples/_cli": "class Drawn:\n    seed: int = 0\n    figure: str = ''\n",
        "examples/_text": "from _cli import Drawn\nclass Text(Drawn):\n    quick: bool = False\n",
        "examples/a": "from _text import Text\nclass Options(Text):\n    json: str = ''\n",
        "studies/b": "from examples._cli import Drawn\nclass Options(Drawn):\n    x: int = 1\n",
        "examples/c": "class Options:\n    seed: int = 0\n",
    }
    assert flags("examples/a", "Options", texts) == FLAGS
    assert flags("studies/b", "Options", texts) == {"seed", "figure", "x"}
    assert flags("examples/c", "Options", texts) == {"seed"}
    assert used("if options.quick:\n    save(options.json)\n") == {"quick", "json"}
    assert used("def main(o):\n    save(o.json, ax.figure)\n") == {"json"}
