"""The style of figures, and that programs and pages draw in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

import boltzax as bx

from ._style import PALETTE, faults

TREE = Path(__file__).parents[2]
PROGRAMS = [
    p for f in ("examples", "studies", "benchmarks", "claims") for p in TREE.glob(f"{f}/*.py")
]
PAGES = sorted(TREE.glob("docs/*.md"))
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n((?::[^\n]*\n)*)(.*?)^```", re.M | re.S)
BY_HAND = re.compile(r"\.(plot|loglog|semilogy|scatter|errorbar|hist|imshow|axhline|legend)\(")
BARS = {"errorbar", "fill_between"}


def breaches(text: str) -> Iterator[str]:
    """What a program or a cell draws past the style."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in {"subplots", "subplot_mosaic", "Figure"}:
                yield f"{name}: figures are made by bx.plot.panels"
            if name in BARS and "95%" not in text:
                yield f"{name} without the name of its error bars"
        if isinstance(node, ast.keyword) and node.arg in {"fontsize", "figsize"}:
            yield f"{node.arg} by hand"
        color = str(node.value) if isinstance(node, ast.Constant) else ""
        if re.fullmatch(r"#[0-9a-fA-F]{6}", color) and not neutral(color):
            yield f"colour {color}"


def neutral(color: str) -> bool:
    """Whether a colour is grey, or one of the palette."""
    return to_hex(color) in PALETTE or len(set(to_rgb(color))) == 1


def cells(text: str) -> Iterator[tuple[str, str]]:
    """Options and code of the cells of a page that draw."""
    for options, code in CELL.findall(text):
        if "bx.plot." in code or "plt." in code:
            yield options, code


def undescribed(text: str) -> Iterator[str]:
    """Cells with a figure that has no alternative text, or with plotting code in sight."""
    for options, code in cells(text):
        first = code.strip().split("\n")[0]
        alt = re.search(r"image: \{alt: '(.*)'\}", options)
        if alt is None or len(alt[1]) < 20 or ".png" in alt[1]:
            yield f"no alternative text: {first}"
        if BY_HAND.search(code) and "hide-input" not in options:
            yield f"plotting code in sight: {first}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_draw_in_the_style(path):
    assert list(breaches(path.read_text())) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_draw_in_the_style_and_describe_their_figures(path):
    text = path.read_text()
    assert [fault for _, code in cells(text) for fault in breaches(code)] == []
    assert list(undescribed(text)) == []


def test_breaches_are_caught():
    assert list(breaches("plt.subplots(figsize=(9, 3))")) == [
        "subplots: figures are made by bx.plot.panels", "figsize by hand",
    ]  # fmt: skip
    assert len(list(breaches("ax.errorbar(x, y, e, label='a', color='#ff0000')"))) == 2
    assert list(breaches("ax.errorbar(x, y, e, label='a, 95%', color='#0072B2')")) == []
    page = "```{code-cell} python3\nwith bx.plot.panels() as (ax,):\n    ax.plot(x)\n```\n"
    assert len(list(undescribed(page))) == 2 == len(list(undescribed(f"{page}\n{page}"))) / 2
    told = ":tags: [hide-input]\n:mystnb: {image: {alt: 'A line that rises over x.'}}\n"
    assert list(undescribed(page.replace("python3\n", f"python3\n{told}"))) == []


def test_no_setting_changes_outside():
    before = dict(matplotlib.rcParams)
    bx.plot.estimate(np.arange(3.0), bx.Estimate.exact(np.arange(3.0)))
    with bx.plot.panels(1, 2) as axes:
        assert matplotlib.rcParams["font.size"] == bx.plot.style()["font.size"]
        assert len(axes) == 2 and axes[0].figure.get_figwidth() == 7
    assert dict(matplotlib.rcParams) == before


def test_a_notebook_that_turns_interactive_at_its_first_figure_stays_so():
    assert not plt.isinteractive()
    with bx.plot.panels():
        plt.ion()
    stays = plt.isinteractive()
    plt.ioff()
    assert stays


def test_panels_are_saved_and_closed(tmp_path):
    for path in (tmp_path / "a.png", str(tmp_path / "a.pdf")):
        with bx.plot.panels(2, path=path, share_x=True) as (top, below):
            top.plot([1, 2])
        assert Path(path).stat().st_size > 0 and plt.get_fignums() == []
    assert below.get_shared_x_axes().joined(top, below)


def test_numbered_colours_are_those_of_the_style_after_it_ends():
    with bx.plot.panels() as (ax,):
        ax.plot([0, 1], [0, 1], "C1o-", mfc="C2", label="own")
        bx.plot.estimate(np.arange(2.0), bx.Estimate.exact(np.arange(2.0)), color="C3", ax=ax)
        ax.legend()
    first, second = ax.lines
    (named,) = (line for line in ax.get_legend().get_lines() if line.get_label() == "own")
    cycle = bx.plot.style()["axes.prop_cycle"].by_key()["color"]
    for color, number in (
        (first.get_color(), 1),
        (first.get_markerfacecolor(), 2),
        (named.get_color(), 1),
        (second.get_color(), 3),
    ):
        assert to_hex(color) == to_hex(cycle[number])


def test_the_style_is_a_setting_of_matplotlib():
    with plt.style.context(bx.plot.style()):
        _, ax = plt.subplots()
        lines = [ax.plot([0, 1], [i, i], marker)[0] for i, marker in enumerate("os^")]
        ax.set(xlabel="x", ylabel="y")
    assert {to_hex(line.get_color()) for line in lines} <= PALETTE
    assert list(faults(ax.figure)) == []


def test_faults_of_a_figure_are_caught():
    figure, ax = plt.subplots(figsize=(9, 3))
    ax.errorbar([0, 1], [0, 1], 0.1, color="red", label="a")
    ax.plot([0, 1], [1, 0], color="C0", label="b")
    ax.set_title("small", fontsize=6)
    ax.plot([0, 1], [1, 1], color="0.5", label="c")
    ax.legend(fontsize=9)
    figure.canvas.draw()
    found = " | ".join(faults(figure))
    for part in ("9 in wide", "'small' of 6 pt", "no label of x", "colour red", "in colour alone"):
        assert part in found
    assert "error bars without a name" in found


def test_series_are_named_with_their_bands_and_differ_in_markers():
    values = bx.Estimate(np.arange(3.0), np.ones(3), 9 * np.ones(3), np.ones(3))
    curve = bx.Curve(np.arange(3.0), values, axis="step")
    ax = bx.plot.curve(curve, name="loss / nats")
    bx.plot.curve(curve, ax=ax, label="other")
    bx.plot.curve(curve, ax=ax, label="", level=0.5)
    bx.plot.curve(curve, ax=ax, label="half", level=0.5)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["95% band", "other, 95% band", "half, 50% band"]
    assert len({line.get_marker() for line in ax.lines}) == 4
    assert ax.get_ylabel() == "loss / nats" and ax.get_xlabel() == "step"


def test_a_result_is_drawn_by_the_fields_that_are_named():
    values = bx.Estimate.of_replicates(np.random.default_rng(0).normal(size=(8, 2)))
    result = bx.channels.NaturalLatent(values[0], values, bx.Estimate.exact(1.0), "all")
    ax = bx.plot.result(result)
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    assert rows == ["information", "mediation 0", "mediation 1", "redundancy"]
    ax = bx.plot.result(result, fields=["redundancy"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["redundancy"]
    with pytest.raises(bx.DeclarationError, match="no field 'other'"):
        bx.plot.result(result, fields=["other"])
    with pytest.raises(bx.DeclarationError, match="without numbers"):
        bx.plot.result(bx.Tokens.bytes())


@pytest.mark.parametrize("name", ["missing/a.pdf", "a.xyz"])
def test_a_figure_that_cannot_be_written_is_refused_before_it_is_drawn(name, tmp_path):
    with pytest.raises(bx.DeclarationError, match="path"), bx.plot.panels(path=tmp_path / name):
        raise AssertionError("drawn")
