"""The record of the ledger: for each claim the last quick and the last full outcome."""

import json
from dataclasses import dataclass
from pathlib import Path

from . import ROWS
from ._row import Row

EFFORTS = ("quick", "full")


@dataclass(frozen=True)
class Record:
    """Outcomes by id and effort."""

    found: dict[tuple[str, str], dict]

    @staticmethod
    def read(path: Path | None, empty: "Record | None" = None) -> "Record":
        """The record in a file; `empty` if there is none."""
        if path is None or not path.exists():
            return empty or Record({})
        rows = json.loads(path.read_text())["rows"]
        return Record({(row["id"], row["effort"]): row for row in rows})

    def has(self, name: str, effort: str, seed: int, commit: str) -> bool:
        """Whether a row was examined so."""
        row = self.found.get((name, effort), {})
        return (row.get("seed"), row.get("commit")) == (seed, commit)

    def plus(self, row: dict) -> "Record":
        """The record with one more outcome, or a new one in place of that of its effort."""
        return Record(self.found | {(row["id"], row["effort"]): row})

    def rows(self) -> list[dict]:
        """The outcomes in the order of the ledger, quick before full, with what is told of each."""
        order = ((row, effort) for row in ROWS for effort in EFFORTS)
        return [
            self.found[row.id, effort] | told(row)
            for row, effort in order
            if (row.id, effort) in self.found
        ]

    def write(self, path: Path | None) -> None:
        """Write all outcomes: the file is whole at every time."""
        if path is None:
            return
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"rows": self.rows()}, indent=1) + "\n")
        new.replace(path)


def told(row: Row) -> dict:
    """What is known of a row without a measurement."""
    return {"expected": row.expected, "page": row.page, "missing": row.missing}
