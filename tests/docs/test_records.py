"""Every recorded figure says how it was made."""

import ast
import shlex
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
sys.path.insert(0, str(TREE / "docs"))

import gallery  # noqa: E402
import records  # noqa: E402

RECORDS = records.records()


def test_every_file_has_one_record():
    there = {str(p.relative_to(records.FIGURES)) for p in records.FIGURES.rglob("*") if p.is_file()}
    named = [file for record in RECORDS.values() for file in record["files"]]
    pictures = {file for file in there if file.startswith("gallery/")}
    assert sorted(named) == sorted(there - pictures - {"records.json"})


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_names_a_program_and_writes_its_files(name):
    record = RECORDS[name]
    assert all((TREE / source).exists() for source in records.sources(record["command"]))
    words = shlex.split(record["command"])
    assert {f"docs/figures/{file}" for file in record["files"]} <= set(words)
    assert len(record["commit"]) == 10 and int(record["commit"], 16) >= 0


def test_what_a_program_imports_is_part_of_it():
    found = records.sources("python -m studies.clover --quick")
    assert {"studies/clover.py", "examples/_cli.py"} <= found
    assert "claims/_row.py" in records.sources("python -m claims")


def test_a_page_ends_with_its_records():
    lines = records.table('stored = json.loads(Path("figures/clover.json").read_text())')
    assert any("studies.clover" in line for line in lines)
    assert records.table("a page without figures") == []


def test_the_gallery_shows_every_program():
    text = gallery.PAGE.read_text()
    for name, path in gallery.programs().items():
        docstring = ast.get_docstring(ast.parse((TREE / path).read_text())) or ""
        assert f"## {name}\n" in text
        assert " ".join(docstring.split("\n\n")[0].split()).rstrip(".") in text
    assert text == gallery.page(), "run python docs/gallery.py --page"
