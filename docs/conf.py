"""Sphinx configuration. Every page is a notebook, executed when the documentation is built."""

import re
import textwrap
from importlib.metadata import version as _version

project = "boltzax"
author = "The boltzax developers"
copyright = author
release = _version("boltzax")

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "boltzax"

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

nb_execution_mode = "force"  # two processes that read pages would race to make one cache
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_execution_show_tb = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"


def _inline(text: str) -> str:
    """A line of a docstring as reStructuredText: code in backticks, all else as it stands."""
    parts = re.split(r"(`+[^`]+`+)", text)
    plain = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[0::2]]
    code = [f"``{part.strip('`')}``" for part in parts[1::2]] + [""]
    return "".join(a + (f"{b}\\ " if b else "") for a, b in zip(plain, code, strict=True))


def _as_plain_text(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text: paragraphs, `- ` lists, indented formulas, code in backticks."""
    text = _joined(textwrap.dedent("\n".join(lines)).strip("\n"))
    result: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        rows = block.split("\n")
        if rows[0].lstrip().startswith("- "):
            items = re.split(r"\n\s*- ", "\n" + block)[1:]
            result += [f"- {_inline(' '.join(item.split()))}" for item in items]
        elif any(row.startswith(" ") for row in rows):
            result += ["::", "", *(f"    {row}" for row in rows)]
        else:
            result += [_inline(row) for row in rows]
        result.append("")
    lines[:] = result


def _joined(text: str) -> str:
    """Code that runs over the end of a line, on one line."""
    return re.sub(r"`[^`\n]*\n[^`\n]*`", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text)


def _skip_foreign(app, what, name, obj, skip, options):
    """What comes from elsewhere (the distributions of NumPyro) is documented there."""
    module = getattr(obj, "__module__", None)
    if what == "module" and isinstance(module, str) and not module.startswith("boltzax"):
        return True
    return None


def setup(app):
    app.connect("autodoc-process-docstring", _as_plain_text)
    app.connect("autodoc-skip-member", _skip_foreign)
