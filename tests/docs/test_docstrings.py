"""Docstrings are Google style, valid reStructuredText, and name parameters that exist."""

import inspect
import io
import re
from pathlib import Path

import pytest

from ._public import members, parameters, public_names

core = pytest.importorskip("docutils.core")
nodes = pytest.importorskip("docutils.nodes")
roles = pytest.importorskip("docutils.parsers.rst.roles")
napoleon = pytest.importorskip("sphinx.ext.napoleon")

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _code(name, raw, text, line, inliner, options=None, content=None):
    return [nodes.literal(raw, text)], []


roles.register_local_role("code", _code)


def as_tree(docstring: str):
    """What Sphinx makes of a docstring, and the complaints about it."""
    config = napoleon.Config(napoleon_use_rtype=False)
    text = str(napoleon.GoogleDocstring(docstring, config, what="function"))
    heard = io.StringIO()
    settings = {"report_level": 1, "halt_level": 5, "warning_stream": heard}
    tree = core.publish_doctree(f".. default-role:: code\n\n{text}", settings_overrides=settings)
    return tree, heard.getvalue().splitlines()


def complaints(docstring: str, known: list[str] | None) -> list[str]:
    """What is wrong with a docstring; `known` are the parameters that it may describe."""
    tree, found = as_tree(docstring)
    for text in tree.findall(nodes.Text):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block):
            found += [f"bare mark-up: {text}"] if re.search(r"`|\*\*", text) else []
    found += [f"bold: {node.astext()}" for node in tree.findall(nodes.strong)]
    found += [f"indented: {node.astext():.60}" for node in tree.findall(nodes.block_quote)]
    several = re.findall(r"^:param ([^:]+,[^:]+):", _fields(docstring), re.MULTILINE)
    found += [f"several names in one entry: {names}" for names in several]
    for name in re.findall(r"^:param (\S+):", _fields(docstring), re.MULTILINE):
        if known is not None and name.lstrip("\\*") not in known:
            found.append(f"describes {name}, which is no parameter of {known}")
    return found


def _fields(docstring: str) -> str:
    return str(napoleon.GoogleDocstring(docstring, napoleon.Config(), what="function"))


def everything() -> dict[str, object]:
    found = {}
    for name, value in public_names().items():
        if (getattr(value, "__module__", None) or "").startswith("boltzax"):
            found[name] = value
            found |= {f"{name}.{inner}": each for inner, each in members(value).items()}
    return found


def test_every_docstring_is_google_style():
    found = {}
    for name, value in everything().items():
        known = None if isinstance(value, property) else parameters(value, starred=True)
        if inspect.isclass(value):
            known = [*(known or []), *_fields_of(value)]
        wrong = complaints(inspect.getdoc(value) or "", known)
        found |= {name: wrong} if wrong else {}
    assert found == {}


def _fields_of(value: type) -> list[str]:
    return list(getattr(value, "__dataclass_fields__", {}))


def named(docstring: str) -> set[str]:
    """The words that a docstring describes in its lists, or names as code."""
    listed = re.findall(r"^\s+\*{0,2}(\w+): ", docstring, re.MULTILINE)
    code = re.findall(r"`([^`]+)`", docstring)
    return {*listed, *(word for text in code for word in re.findall(r"\w+", text))}


def test_every_parameter_and_field_is_described():
    """In the docstring, in that of a base, or once for all on the first page of the reference."""
    rows = re.findall(r"^\| ([^|]+) \|", (REFERENCE / "index.md").read_text(), re.MULTILINE)
    common = set(re.findall(r"`(\w+)`", " ".join(rows)))
    missing, count = {}, 0
    for name, value in public_names().items():
        if not (getattr(value, "__module__", None) or "").startswith("boltzax"):
            continue
        wanted, texts = set(parameters(value)), [inspect.getdoc(value) or ""]
        if inspect.isclass(value):
            wanted |= {field for field in _fields_of(value) if not field.startswith("_")}
            bases = [base for base in value.__mro__ if base.__module__.startswith("boltzax")]
            texts = [inspect.getdoc(base) or "" for base in bases]
        count += len(wanted)
        lacking = sorted(wanted - common - named("\n".join(texts)))
        missing |= {name: lacking} if lacking else {}
    assert missing == {}
    assert count > 1000 and len(common) < 60


def test_every_public_name_has_its_place_in_the_reference():
    """The pages are written by hand: a new name is put under its topic."""
    text = "\n".join(path.read_text() for path in sorted(REFERENCE.glob("*.md")))
    pattern = r"^\.\. (?:auto|py:)(?:class|function|data):: ([\w.]+)"
    there = re.findall(pattern, text, re.MULTILINE)
    assert sorted(set(public_names()) - set(there)) == []
    assert sorted(name for name in there if there.count(name) > 1) == []


BAD = {
    "a list under a bold title": "Do it.\n\n**Arguments**\n\n- `x`: a number.\n",
    "a name that is no parameter": "Do it.\n\nArgs:\n    y: a number.\n",
    "bars that name a substitution": "For |x| < 1.\n",
    "a formula that is no literal block": "It is\n\n    a = b * c * d\n\nin nats.\n",
    "code that does not end": "The `x is a number.\n",
    "two parameters in one entry": "Do it.\n\nArgs:\n    x, y: numbers.\n",
    "mark-up of Markdown": "**Returns** a number.\n",
}


@pytest.mark.parametrize("name", BAD)
def test_planted_faults_are_caught(name):
    assert complaints(BAD[name], ["x"])


def test_a_clean_docstring_passes():
    clean = "Do `|x|` ::\n\n    a = b * c\n\nArgs:\n    x: `w*`.\n\nRaises:\n    E: If so.\n"
    assert complaints(clean, ["x"]) == []
