"""Rows of the ledger, for the pages that explain them."""

import json
from pathlib import Path

from IPython.display import Markdown

RECORD = Path(__file__).parent / "figures" / "ledger.json"


def outcomes(*names: str) -> Markdown:
    """A table of some rows of the record: of each the full outcome, or else the quick one."""
    rows = {row["id"]: row for row in json.loads(RECORD.read_text())["rows"]}
    lines = [
        "| | claim | outcome | value (95% interval) | allowed | false alarms |",
        "|---" * 6 + "|",
    ]
    for row in (rows[name] for name in names):
        exact = row["lower"] == row["upper"]
        value = f"{row['value']:.4g}"
        value += "" if exact else f" ({row['lower']:.4g} to {row['upper']:.4g})"
        rate = "none: one value" if exact else f"{row['level']:g}"
        cells = [row["id"], row["statement"], f"**{row['outcome']}**", value, allowed(row), rate]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return Markdown("\n".join(lines))


def allowed(row: dict) -> str:
    """The values that a claim allows."""
    low, high = row["low"], row["high"]
    if low is None:
        return f"at most {high:.4g}"
    return f"at least {low:.4g}" if high is None else f"{low:.4g} to {high:.4g}"
