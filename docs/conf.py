"""Sphinx configuration. Every page is a notebook, executed when the documentation is built."""

import ast
import contextlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
import typing
from importlib.metadata import version as _version
from pathlib import Path

import numpy.typing
from docutils import nodes
from sphinx.util.parallel import make_chunks

DOCS = Path(__file__).parent
sys.path.append(str(DOCS))  # `_kernels`, `_mathml`, `records`

import _kernels  # noqa: E402

# numpyro asks tqdm for a progress bar of notebooks, which these pages do not show
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
# several pages are executed at once: threads of their own would only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR")

# most of the time of the pages goes into compiling programs that run once, but for some that
# compute; a flag that XLA does not know ends the process
COMPUTING = {
    *("background", "degradation", "information", "interfaces", "learning_zero", "mean_field"),
    *("rare_events", "trust"),
}
LEVEL = "--xla_backend_optimization_level="
PLAIN = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
GIVEN = "XLA_FLAGS" in os.environ
if not GIVEN:
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    tried = subprocess.run(start, env=os.environ | {"XLA_FLAGS": PLAIN}, capture_output=True)
    PLAIN = "" if tried.returncode else PLAIN

COLUMNS = 88  # of code and of output

# types are named as they are written in the source
typing.GENERATING_DOCUMENTATION = "boltzax"  # a switch of jaxtyping
numpy.typing.ArrayLike = type("ArrayLike", (), {"__module__": "builtins"})

project = "boltzax"
author = "The boltzax developers"
copyright = author
release = _version("boltzax")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "_mathml",
    "records",
]
html_math_renderer = "mathml"
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
smartquotes_action = "D"  # dashes alone: quotes belong to code
html_theme = "furo"
html_title = "boltzax"
html_search_scorer = str(DOCS / "search_scorer.js")  # pages before entries of the reference

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

nb_execution_mode = "force"  # two processes that read pages would race to make one cache
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_execution_show_tb = True

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "all"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# names of axes in annotations, `Float[Array, "datum"]`, are no references
suppress_warnings = ["ref.python"]
default_role = "code"  # `x` in a docstring is code


def _outcomes(app, what, name, obj, options, lines: list[str]) -> None:
    """The members of an enumeration, each with what it says."""
    import equinox as eqx  # after the switch of jaxtyping

    if isinstance(obj, type) and issubclass(obj, eqx.Enumeration):
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
        members = [part.targets[0].id for part in node.body if isinstance(part, ast.Assign)]
        lines += [f"- `{each}`: {obj[getattr(obj, each)]}" for each in members]


def _in_words(text: str) -> str:
    """A type of the reference with its words in place of `Annotated[type, words]`."""
    while found := re.search(r"(~?typing\.)?Annotated\[", text):
        depth, comma, end = 1, 0, found.end()
        while depth:
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(text[end], 0)
            comma = comma or (end if depth == 1 and text[end] == "," else 0)
            end += 1
        words = re.sub(r"(, )?called( \w+)?$", "", text[comma + 1 : end - 1].strip())
        text = text[: found.start()] + (words or text[found.end() : comma]) + text[end:]
    return text


def _types_in_words(app, domain: str, objtype: str, node) -> None:
    """Before autodoc writes the types of arguments into their list."""
    for types in app.env.current_document.autodoc_annotations.values():
        types.update({name: _in_words(each) for name, each in types.items()})


def _prepare(app, docname: str, source: list[str]) -> None:
    """How the programs of a page are compiled, and where they are kept.

    One cache a page, for two processes that write and read the same file can crash. It begins
    with links to the programs of the pages that have been read, which `_keep` makes.
    """
    if not GIVEN:
        os.environ["XLA_FLAGS"] = LEVEL + ("1" if docname in COMPUTING else "0") + PLAIN
    if CACHE:
        own = _own_cache()
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(own)
        _link(_all_caches(), own)


def _keep(app, doctree) -> None:
    """The programs of a page that has been read are there for those that follow."""
    if CACHE:
        _link(_own_cache(), _all_caches())
        shutil.rmtree(_own_cache())


def _own_cache() -> Path:
    return Path(CACHE, f"docs-{os.getpid()}")


def _all_caches() -> Path:
    return Path(CACHE, "docs")


def _link(source: Path, target: Path) -> None:
    for folder in (source, target):
        folder.mkdir(parents=True, exist_ok=True)
    for program in source.iterdir():
        with contextlib.suppress(FileExistsError):
            os.link(program, target / program.name)


def _deal(app, env, docnames: list[str]) -> None:
    """Pages with many cells, the others after them, dealt to the processes that read."""
    text = {name: Path(env.doc2path(name)).read_text() for name in docnames}
    cells = {name: text[name].count("{code-cell}") * (1 + (name in COMPUTING)) for name in docnames}
    ranked = sorted(docnames, key=cells.get, reverse=True)
    chunks = len(make_chunks(docnames, app.parallel))
    docnames[:] = [name for first in range(chunks) for name in ranked[first::chunks]]


def _narrow(app, doctree) -> None:
    """Lines of output that a page cannot show go on in the next line, further in."""
    for cell in doctree.findall(nodes.container):
        for block in cell.findall(nodes.literal_block) if "cell_output" in cell["classes"] else ():
            block[:] = [nodes.Text("\n".join(map(_narrowed, block.astext().split("\n"))))]


def _narrowed(line: str) -> str:
    if len(line) <= COLUMNS:
        return line
    further = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line,
        COLUMNS,
        subsequent_indent=further,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def setup(app):
    _kernels.start()
    app.connect("doctree-read", _narrow)
    app.connect("doctree-read", _keep)
    app.connect("source-read", _prepare)
    app.connect("env-before-read-docs", _deal)
    app.connect("autodoc-process-docstring", _outcomes)
    app.connect("object-description-transform", _types_in_words, priority=400)
