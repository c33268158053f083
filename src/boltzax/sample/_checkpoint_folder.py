"""The folder of a saved run: which checkpoints it holds, and whether they are intact."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ..core import RunError
from ._safe_files import ASIDE, remove, sha256

_CHUNK = re.compile(r"\d+-\d+-[0-9a-f]{64}\.npz")
_STATE = re.compile(r"\d+")


class Archive:
    """The files of a folder, and whether they are intact."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.records = folder / "records"

    def steps(self) -> list[int]:
        """Rows of all states, sorted."""
        return sorted(int(path.name) for path in (self.folder / "states").glob("[0-9]*"))

    def foreign(self) -> list[str]:
        """Names of files in `records` and `states` that no run has written (hidden ones aside)."""
        kinds = {self.records: _CHUNK, self.folder / "states": _STATE}
        found = [(path, kind) for folder, kind in kinds.items() for path in folder.iterdir()]
        known = (".", ASIDE)
        return sorted(
            self._name(path)
            for path, kind in found
            if not path.name.startswith(known) and not kind.fullmatch(path.name)
        )

    def state(self, rows: int) -> Path:
        return self.folder / "states" / f"{rows:09d}"

    def chunks(self) -> list[tuple[int, int, Path]]:
        """First and last row and file of all chunks of records, sorted."""
        named = ((path.name.split("-"), path) for path in self.records.glob("[0-9]*-*-*.npz"))
        return sorted((int(name[0]), int(name[1]), path) for name, path in named)

    def chain(self, rows: int) -> str:
        """A hash over the names, which hold their sha256, of the chunks of the first rows."""
        link = ""
        for _, end, path in self.chunks():
            if end <= rows:
                link = linked(link, path)
        return link

    def complaints(self, rows: int) -> list[str]:
        """What is wrong with a checkpoint, a line for each file."""
        place = self.state(rows)
        try:
            sealed = json.loads((place / "manifest.json").read_text())
            body = sealed["body"]
            good = sealed["sha256"] == _digest(body)
        except (OSError, ValueError, KeyError, TypeError):
            return [f"{self._name(place / 'manifest.json')} is missing or cannot be read"]
        if not good:
            return [f"{self._name(place / 'manifest.json')} is not what was written"]
        found = [self._check(place / name, digest) for name, digest in body["files"].items()]
        reached = body["first"]
        for begin, end, path in self.chunks():
            if end <= rows:
                if begin != reached:
                    found.append(f"records/ lacks the file of rows {reached} to {begin}")
                found.append(self._check(path, path.stem.split("-")[2]))
                reached = end
        if reached != body["reached"]:
            found.append(f"records/ lacks the file of rows {reached} to {body['reached']}")
        found = [each for each in found if each]
        if not found and self.chain(rows) != body["chain"]:
            found = ["records/ has other files than those that were written"]
        return found

    def mend(self, fallback: bool) -> None:
        """Check the last checkpoint; go back to the last good one if that is wanted.

        Removes the records past the checkpoint: they are made again.
        """
        steps = self.steps()
        last = steps[-1] if steps else 0
        beyond = [path for begin, _, path in self.chunks() if begin >= last]
        # one save writes one chunk before its state: more than one means that a state has gone
        wrong = self.complaints(last) if steps else []
        name = f"The checkpoint of row {last}" if steps else "The last checkpoint"
        if not wrong and len(beyond) > 1:
            wrong = [
                f"records/ has rows up to {self.chunks()[-1][1]}, states/ has none past {last}"
            ]
            name = "The last checkpoint"
            good = [last] if steps else []
        elif wrong:
            good = [rows for rows in reversed(steps[:-1]) if not self.complaints(rows)][:1]
        else:
            good = [last] if steps else []
        if wrong and not fallback:
            where = f"The checkpoint of row {good[0]} is good" if good else "No other one is good"
            then = "resumes from there" if good else "starts the run again"
            raise RunError(
                f"{name} in {self.folder} is damaged: {'; '.join(wrong[:3])}.\n{where}: "
                f"Checkpoints({str(self.folder)!r}, fallback=True) {then}, and the later draws "
                "are made again, the same to the last bit."
            )
        floor = good[0] if good else 0
        for rows in steps:
            if rows > floor:
                remove(self.state(rows))
        for begin, end, path in self.chunks():
            if begin >= floor or end > floor:
                path.unlink()

    def _check(self, path: Path, digest: str) -> str:
        if not path.is_file():
            return f"{self._name(path)} is missing"
        return "" if sha256(path) == digest else f"{self._name(path)} is not what was written"

    def _name(self, path: Path) -> str:
        name = str(path.relative_to(self.folder))
        return name if len(name) < 60 else f"{name[:40]}...{name[-12:]}"


def linked(link: str, path: Path) -> str:
    """A chain of hashes with one file's name added."""
    return hashlib.sha256((link + path.name).encode()).hexdigest()


def seal(body: dict[str, Any]) -> str:
    """A manifest with the sha256 of itself."""
    return json.dumps({"body": body, "sha256": _digest(body)}, indent=1)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()
