"""The ledger: every claim has a row, and its record is complete and current."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from hypothesis.strategies import SearchStrategy

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from claims import ROWS  # noqa: E402
from claims.__main__ import Options, examined, main, wanted  # noqa: E402
from claims._page import forest, page  # noqa: E402
from claims._record import Record  # noqa: E402

COUNTS = {"A": 7, "B": 8, "C": 8, "D": 6, "E": 7, "F": 4, "G": 6}
RECORD = json.loads((ROOT / "docs/figures/ledger.json").read_text())["rows"]


def test_every_claim_has_a_row():
    needed = {f"{letter}{n + 1}" for letter, count in COUNTS.items() for n in range(count)}
    ids = [row.id for row in ROWS]
    assert len(set(ids)) == len(ids)
    assert {name[:2] for name in ids} == needed


@pytest.mark.parametrize("effort", ["quick", "full"])
def test_the_record_is_complete(effort):
    recorded = {row["id"]: row for row in RECORD if row["effort"] == effort}
    assert list(recorded) == [row.id for row in ROWS]
    for row in ROWS:
        found = recorded[row.id]
        assert found["statement"] == row.claim.statement and found["source"] == row.claim.source
        assert (found["low"], found["high"]) == tuple(
            bound if abs(bound) < float("inf") else None
            for bound in (row.claim.low, row.claim.high)
        )
        assert found["expected"] == row.expected and found["page"] == row.page
        assert (ROOT / "docs" / f"{row.page}.md").exists()
        if row.expected == "refuted":  # an expected refutation is one that was seen
            assert found["outcome"] == "refuted", row.id
        assert found["versions"].startswith("boltzax") and found["commit"] and found["date"]
        assert found["efforts"] == list(row.full if effort == "full" else (1, 4))


def test_every_refuted_claim_is_explained():
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("refuted_*.md"))
    refuted = {row["id"] for row in RECORD if row["outcome"] == "refuted"}
    assert [name for name in refuted if f'"{name}"' not in pages] == []


def test_the_page_is_that_of_the_record():
    assert (ROOT / "docs/claims.md").read_text() == page(RECORD)
    figure = forest(RECORD)
    assert sum(len(ax.get_yticks()) for ax in figure.axes) == len(ROWS)


@pytest.mark.parametrize("name", ["C2", "C5b", "F2"])
def test_a_cheap_row_has_its_outcome_again(name):
    (row,) = (row for row in ROWS if row.id == name)
    again = examined(row, seed=0, effort="quick")
    recorded = next(each for each in RECORD if each["id"] == name)
    assert again["outcome"] == recorded["outcome"]
    if not isinstance(row.claim.domain, SearchStrategy):  # others draw cases, each version its own
        assert again["value"] == pytest.approx(recorded["value"], rel=1e-6)


def test_a_run_keeps_what_it_does_not_examine(tmp_path, capsys):
    """Rows of another effort or id stay; a resumed run leaves out what it finds."""
    path = tmp_path / "ledger.json"
    options = Options(only="B6b", json=path)
    main(options)
    main(replace(options, full=True))
    main(replace(options, only="B2d"))
    rows = Record.read(path).rows()
    assert [(row["id"], row["effort"]) for row in rows] == [
        ("B2d", "quick"), ("B6b", "quick"), ("B6b", "full"),
    ]  # fmt: skip
    capsys.readouterr()
    main(replace(options, resume=True))
    assert capsys.readouterr().out == ""
    main(replace(options, resume=True, seed=1))
    assert "B6b" in capsys.readouterr().out
    assert {row["seed"] for row in Record.read(path).rows() if row["id"] == "B2d"} == {0}


def test_an_undecided_row_says_how_many_draws_it_takes():
    (row,) = (row for row in RECORD if (row["id"], row["effort"]) == ("D6", "quick"))
    near = row | {"outcome": "undecided", "value": 1.0, "standard_error": 0.2, "cases": 1}
    assert "about 3.4 times the draws" in page([near])  # 3.02 errors in a room of 0.33
    assert "the draws" not in page([near | {"outcome": "supported"}]).split("| D6")[1]


def test_rows_are_chosen_by_id():
    assert wanted("C5b", "C5") and wanted("C5b", "A1, C") and wanted("C5b", "")
    assert not wanted("C5", "C5b") and not wanted("C5", "A")
    assert jax.config.jax_enable_x64
