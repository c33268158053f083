"""What the README shows can be pasted, each part by itself."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def snippets(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def run(code: str) -> tuple[SimpleNamespace, object]:
    """The names that a snippet leaves, run by itself, and the value of its last line."""
    *above, last = ast.parse(code).body
    names: dict = {"__name__": "snippet"}
    exec(compile(ast.Module(above, []), "README.md", "exec"), names)
    return SimpleNamespace(**names), eval(compile(ast.unparse(last), "README.md", "eval"), names)


def test_the_first_page_shows_what_the_readme_shows():
    assert snippets("docs/index.md") == snippets("README.md")[:2]
    assert len(snippets("README.md")) == 5


def test_a_ladder():
    left, axes = run(snippets("README.md")[0])
    assert len(axes.get_lines()) > 0
    assert left.curve.energy.shape[0] == 4


def test_a_local_learning_coefficient():
    left, (estimate, usable, _, _) = run(snippets("README.md")[1])
    assert usable
    exact = left.bx.theory.reduced_rank(3, 2, 1, 1)
    assert abs(estimate.value - float(exact)) < 0.25


def test_interfaces():
    _, certificate = run(snippets("README.md")[2])
    assert certificate.holds


def test_mean_field():
    code = snippets("README.md")[3]
    assert code.count("steps=300") == 1
    left, agreement = run(code.replace("steps=300", "steps=40"))  # as written, some seconds longer
    assert left.fixed.gap < 1e-6
    assert np.isfinite(agreement.gap.distance)


def test_a_language_model():
    code = snippets("README.md")[4]
    assert code.count("draws=100") == 1
    left, parts = run(code.replace("draws=100", "draws=20"))  # as written, some seconds longer
    assert list(left.heads) == list(parts.names) and len(parts.names) == 2
    assert np.all(np.isfinite(parts.sum.value)) and float(parts.whole.estimate) > 0


@pytest.mark.parametrize("path", ["README.md", "docs/index.md"])
def test_no_snippet_needs_a_name_from_elsewhere(path):
    for code in snippets(path):
        assert code.startswith("import boltzax as bx, jax, jax.numpy as jnp\n")
