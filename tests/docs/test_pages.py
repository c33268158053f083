"""What the sources of the pages must keep."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
REFERENCE = {path.stem: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}


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
