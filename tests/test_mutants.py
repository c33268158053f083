"""The page of the testing kit lists the mistakes that the tests plant, and no others.

`python -m tests.test_mutants` writes the list.
"""

from pathlib import Path

from . import test_laws
from .sample import test_checks, test_conformance, test_dynamics, test_stochastic

PAGE = Path(__file__).parents[1] / "docs" / "testing_kit.md"
BEGIN, END = "<!-- mutants -->\n", "<!-- /mutants -->\n"

FOUND = {
    "check_kernel": test_conformance.STATISTICAL | test_conformance.STRUCTURAL,
    "check_stochastic_kernel": test_stochastic.MISTAKES | test_stochastic.MOMENTUM,
    "check_fresh_batches": test_stochastic.BATCHES,
    "check_dynamics": test_dynamics.FLAWS,
    "check_measure": test_checks.MISTAKES,
    "check_observable": test_checks.OBSERVABLES,
    **test_laws.PLANTED,
}
"""Every planted mistake, by the check that must find it: the tests run each of them."""


def table() -> str:
    rows = ["| check | finds |", "|---|---|"]
    for check, mistakes in FOUND.items():
        names = [name for name in mistakes if name not in (None, "none")]
        rows.append(f"| `{check}` ({len(names)}) | {'; '.join(names)} |")
    return "\n".join(rows) + "\n"


def written() -> str:
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip("\n") + "\n"


def test_the_page_lists_every_planted_mistake():
    assert written() == table()
    assert sum(len(mistakes) for mistakes in FOUND.values()) > 50


if __name__ == "__main__":
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after.partition(END)[2]}")
