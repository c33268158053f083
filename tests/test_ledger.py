"""The ledger: every claim has a row, and its record is complete and current."""

import json
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from claims import ROWS  # noqa: E402
from claims.__main__ import examined, wanted  # noqa: E402
from claims._page import forest, page  # noqa: E402

COUNTS = {"A": 7, "B": 8, "C": 8, "D": 6, "E": 7, "F": 4, "G": 6}
RECORD = json.loads((ROOT / "docs/figures/ledger.json").read_text())


def test_every_claim_has_a_row():
    needed = {f"{letter}{n + 1}" for letter, count in COUNTS.items() for n in range(count)}
    ids = [row.id for row in ROWS]
    assert len(set(ids)) == len(ids)
    assert {name[:2] for name in ids} == needed


def test_the_record_is_complete():
    recorded = {row["id"]: row for row in RECORD["rows"]}
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


def test_the_page_is_that_of_the_record():
    assert (ROOT / "docs/claims.md").read_text() == page(RECORD)
    figure = forest(RECORD["rows"])
    assert len(figure.axes[0].get_yticks()) == len(ROWS)


@pytest.mark.parametrize("name", ["C2", "C5b", "F2"])
def test_a_cheap_row_has_its_outcome_again(name):
    (row,) = (row for row in ROWS if row.id == name)
    again = examined(row, seed=0, full=False)
    recorded = next(each for each in RECORD["rows"] if each["id"] == name)
    assert again["outcome"] == recorded["outcome"]
    assert again["value"] == pytest.approx(recorded["value"], rel=1e-6)


def test_rows_are_chosen_by_id():
    assert wanted("C5b", "C5") and wanted("C5b", "A1, C") and wanted("C5b", "")
    assert not wanted("C5", "C5b") and not wanted("C5", "A")
    assert jax.config.jax_enable_x64
