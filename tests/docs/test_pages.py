"""What the sources of the pages must keep."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
REFERENCE = {path.stem: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}


COLUMNS = 88
"""What a line of code may take of a page; lines of options of a cell are not shown."""

FREE = {"toctree", "figure", "glossary", "bibliography", "eval-rst"}
"""Blocks that hold no code."""


def code_lines(text: str) -> list[str]:
    """The lines of all blocks of code."""
    pattern = r"^( *)(```+)\{?([\w-]*)[^\n]*\n(.*?)^\1\2$"
    blocks = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    lines = [line for *_, kind, code in blocks if kind not in FREE for line in code.split("\n")]
    return [line for line in lines if not line.startswith(":")]


def test_code_fits_on_a_page():
    readme = "\n".join(re.findall(r"```python.*?```", (ROOT / "README.md").read_text(), re.DOTALL))
    found = {name: code_lines(text) for name, text in (PAGES | {"README": readme}).items()}
    long = {name: [x for x in lines if len(x) > COLUMNS] for name, lines in found.items()}
    assert {name: lines for name, lines in long.items() if lines} == {}
    assert sum(map(len, found.values())) > 3000


def test_the_reference_and_the_pages_link_to_each_other():
    pairs = 0
    for name, text in REFERENCE.items():
        pages = set(re.findall(r"\]\(\.\./(\w+)\.md", text))
        back = {page for page in pages if f"](reference/{name}.md" in PAGES[page]}
        assert back or name == "index", f"no page links to reference/{name}.md, and back"
        pairs += len(back)
    assert pairs >= 40


def test_every_page_of_a_topic_links_to_the_reference():
    listed = re.findall(
        r"```\{toctree\}\n:caption: \"?(.*?)\"?\n.*?\n\n(.*?)\n```", PAGES["index"], re.DOTALL
    )
    topics = [names.split() for caption, names in listed if caption.startswith("Explanation")]
    names = [name for some in topics for name in some]
    assert len(names) > 25
    assert [name for name in names if "](reference/" not in PAGES[name]] == []
