"""The heads and other parts of a small transformer: their local learning coefficients and a null.

The net of `transformer.py` is trained, and the coefficient of each head and of each MLP, or of the
parts that `--heads-of` and `--parts` name, is estimated at the last step in one loop, beside that
of all weights. They are compared with a net of random weights or, with `--null shuffled`, with
shuffled weights of the part alone in the trained net.
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import tyro
from _cli import save
from _text_net import TextNet

import boltzax as bx


@dataclass
class Options(TextNet):
    """Net, training, settings of the coefficients; `quick`: a smaller net, fewer steps."""

    heads_of: tuple[str, ...] = ("blocks[*].attention",)  # Attentions whose heads are parts
    parts: tuple[str, ...] = ("blocks[*].mlp",)  # Other parts by name, such as blocks[0] or final
    null: Literal["random", "shuffled"] = "random"  # What parts are compared with


def named_parts(net: bx.models.Transformer, options: Options) -> dict:
    """The parts that the options name."""
    parts = {}
    try:
        for pattern in options.heads_of:
            parts |= bx.parts(net, pattern, heads=options.heads)
        for pattern in options.parts:
            parts |= bx.parts(net, pattern)
    except bx.DeclarationError as error:
        raise SystemExit(f"--heads-of, --parts: {error}") from None
    return parts


def main(options: Options) -> None:
    """Train, measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, width=16, layers=1, context=16, steps=(0, 200), sequences=64)
    key, key_net, key_null, key_run = jax.random.split(jax.random.key(options.seed), 4)
    tokens, ids = options.text()
    net = options.net(tokens, key_net)
    parts = named_parts(net, options)  # before the training: the names may be wrong
    model = options.trained(net, ids, key)[-1]
    data = bx.Subsampled(bx.Empirical(options.some(ids)), 16)
    energy = bx.CrossEntropy(model, data, count="tokens")
    null = options.net(tokens, key_null) if options.null == "random" else "shuffled"
    found = bx.part_coefficients(energy, parts, options.settings, key=key_run, null=null)
    print(found)
    results = {
        "parts": dict(zip(parts, (part.estimate for part in found.parts), strict=True)),
        "null": dict(zip(parts, (part.estimate for part in found.null or ()), strict=True)),
        "verdicts": dict(zip(parts, (part.short for part in found.parts), strict=True)),
        "sum_of_parts": found.sum,
        "whole": found.whole.estimate,
    }
    save(results, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        bx.plot.part_coefficients(found, ax=ax)


if __name__ == "__main__":
    main(tyro.cli(Options))
