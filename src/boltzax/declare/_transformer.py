"""A small decoder-only transformer of token sequences."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..core import Count, DeclarationError, Key, eager, known, typed
from ._models import applicable, normal_or_zero, split_or_none
from ._taps import tap

Normalisation = Literal["layer", "rms"]

EPSILON = 1e-5
"""Added to the variance by which activations are divided."""


class Norm(eqx.Module):
    """`s x / sqrt(mean x² + ε)` with scale s, of x minus its mean if `kind` is `"layer"`.

    Args:
        width: Length of the vectors.
        kind: `"layer"` (LayerNorm without bias) or `"rms"` (RMSNorm).
    """

    scale: Float[Array, " width"]
    kind: Normalisation = eqx.field(static=True)

    def __init__(self, width: int, kind: Normalisation):
        self.scale = jnp.ones(width)
        self.kind = kind

    def __call__(self, x: Float[Array, "token width"]) -> Float[Array, "token width"]:
        if self.kind == "layer":
            x = x - jnp.mean(x, axis=-1, keepdims=True)
        square = jnp.mean(x**2, axis=-1, keepdims=True)
        return self.scale * x * jax.lax.rsqrt(square + EPSILON)


class Attention(eqx.Module):
    """Causal attention: `Σ_h O_h Σ_{s≤t} softmax_s(q_ht·k_hs / sqrt(d_head)) v_hs`.

    The first axis of all weights is the head.

    Args:
        width: Length of the vectors.
        heads: Number of heads, a divisor of the width.
        key: Weights are N(0, 1/width). Without a key they are zero.
    """

    query: Float[Array, "head inner width"]
    key: Float[Array, "head inner width"]
    value: Float[Array, "head inner width"]
    output: Float[Array, "head width inner"]

    def __init__(self, width: int, heads: int, *, key: Key | None):
        keys = split_or_none(key, 4)
        inner, scale = width // heads, width**-0.5
        self.query, self.key, self.value = (
            normal_or_zero(k, (heads, inner, width), scale) for k in keys[:3]
        )
        self.output = normal_or_zero(keys[3], (heads, width, inner), scale)

    def __call__(self, x: Float[Array, "token width"]) -> Float[Array, "token width"]:
        query, key, value = (
            jnp.einsum("td,hkd->thk", x, w) for w in (self.query, self.key, self.value)
        )
        scores = jnp.einsum("thk,shk->hts", query, key) / math.sqrt(query.shape[-1])
        earlier = jnp.tri(len(x), dtype=bool)
        pattern = tap(jax.nn.softmax(jnp.where(earlier, scores, -jnp.inf), axis=-1), "pattern")
        heads = tap(jnp.einsum("hts,shk->thk", pattern, value), "heads")
        return jnp.einsum("thk,hdk->td", heads, self.output)


class FeedForward(eqx.Module):
    """`W_down act(W_up x)` at each position.

    Args:
        width: Length of the vectors.
        hidden: Number of hidden units.
        activation: The function `act`.
        key: Weights are N(0, 1/inputs). Without a key they are zero.
    """

    up: Float[Array, "hidden width"]
    down: Float[Array, "width hidden"]
    activation: Callable = eqx.field(static=True)

    def __init__(self, width: int, hidden: int, activation: Callable, *, key: Key | None):
        keys = split_or_none(key, 2)
        self.up = normal_or_zero(keys[0], (hidden, width), width**-0.5)
        self.down = normal_or_zero(keys[1], (width, hidden), hidden**-0.5)
        self.activation = activation

    def __call__(self, x: Float[Array, "token width"]) -> Float[Array, "token width"]:
        return tap(self.activation(x @ self.up.T), "hidden") @ self.down.T


class Block(eqx.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`.

    Args:
        attention: The attention.
        mlp: The two dense layers.
        before_attention: The norm of the input of the attention.
        before_mlp: The norm of the input of the dense layers.
    """

    attention: Attention
    mlp: FeedForward
    before_attention: Norm
    before_mlp: Norm

    def __call__(self, x: Float[Array, "token width"]) -> Float[Array, "token width"]:
        x = x + self.attention(self.before_attention(x))
        return tap(x + self.mlp(self.before_mlp(x)), "residual")


class Transformer(eqx.Module):
    """A decoder-only transformer: token ids `[token]` to logits `[token, vocabulary]`.

    Position t sees the tokens up to t, so that its logits are a prediction of the next token.
    Pre-norm, learned positions, no biases. With embedding E, positions P and unembedding U ::

        x_0 = E[tokens] + P[:T]
        x_{l+1} = x_l + attention_l(norm(x_l)) + mlp_l(norm(x_l + attention_l(norm(x_l))))
        logits = norm(x_L) U^T

    Shapes: `embedding` and `unembedding` `[vocabulary, width]`, `positions` `[context, width]`;
    `blocks[l].attention.query`, `.key`, `.value` `[heads, width/heads, width]`, `.output`
    `[heads, width, width/heads]`; `blocks[l].mlp.up` `[mlp, width]`, `.down` `[width, mlp]`; norms
    have one `scale`, `[width]`. A head is a slice of the first axis of the attention's weights.

    Places for `bx.activations` and `bx.patched`: `embedding` (`x_0`), `blocks[l].attention`,
    `blocks[l].attention.pattern` `[heads, token, token]`, `blocks[l].attention.heads`
    `[token, heads, width/heads]` (before `output`), `blocks[l].mlp`, `blocks[l].mlp.hidden`,
    `blocks[l].residual` (`x_{l+1}`) and `final` (the last norm).

    Args:
        vocabulary: Number of tokens.
        width: Length of the vector of a position.
        layers: Number of blocks.
        heads: Heads of each attention, a divisor of the width.
        context: Most tokens of a sequence.
        mlp: Hidden units of each block, 4 times the width if None.
        norm: `"layer"` (mean removed) or `"rms"`, both without bias.
        tied: Whether logits use the embedding in place of an unembedding.
        activation: The function of the hidden units.
        key: Weights are N(0, 1/inputs), also embeddings with `inputs` the width; scales are one.
            Without a key all but the scales are zero.

    Raises:
        DeclarationError: If the heads do not divide the width; for a datum that is not a sequence
            of integers, or is longer than the context.
    """

    embedding: Float[Array, "vocabulary width"]
    positions: Float[Array, "context width"]
    blocks: tuple[Block, ...]
    final: Norm
    unembedding: Float[Array, "vocabulary width"] | None

    @typed
    def __init__(
        self,
        vocabulary: Count,
        width: Count = 64,
        layers: Count = 2,
        heads: Count = 4,
        context: Count = 64,
        mlp: Count | None = None,
        norm: Normalisation = "layer",
        tied: bool = False,
        activation: Annotated[Callable, applicable((2,))] = jax.nn.gelu,
        *,
        key: Key | None = None,
    ):
        if width % heads:
            raise DeclarationError(
                "heads",
                got=f"{heads} for a width of {width}",
                expected="a divisor of the width",
                mend="choose width = heads * width of a head",
            )
        hidden = 4 * width if mlp is None else mlp
        keys = split_or_none(key, 3 + 2 * layers)
        scale = width**-0.5
        self.embedding = normal_or_zero(keys[0], (vocabulary, width), scale)
        self.positions = normal_or_zero(keys[1], (context, width), scale)
        self.unembedding = None if tied else normal_or_zero(keys[2], (vocabulary, width), scale)
        self.blocks = tuple(
            Block(
                Attention(width, heads, key=keys[3 + 2 * layer]),
                FeedForward(width, hidden, activation, key=keys[4 + 2 * layer]),
                Norm(width, norm),
                Norm(width, norm),
            )
            for layer in range(layers)
        )
        self.final = Norm(width, norm)

    def __call__(self, x: Int[Array, " token"]) -> Float[Array, "token vocabulary"]:
        x = jnp.asarray(x)
        self._check(x)
        # a token that does not exist gives NaN, where jax would take another one
        x = (
            jnp.asarray(self.embedding)
            .at[x]
            .get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        )
        x = tap(x + self.positions[: len(x)], "embedding")
        for block in self.blocks:
            x = block(x)
        out = self.embedding if self.unembedding is None else self.unembedding
        return self.final(x) @ out.T

    def _check(self, x: Array) -> None:
        most = self.positions.shape[0]
        if x.ndim != 1 or not jnp.issubdtype(x.dtype, jnp.integer) or not 0 < len(x) <= most:
            raise DeclarationError(
                "x",
                got=f"shape {x.shape}, {x.dtype}",
                expected=f"integer token ids [token], 1 to {most} of them",
                mend="pass one sequence, and for several jax.vmap(model)(tokens)",
            )


@eager
def check_ids(model: Transformer, ids: Int[Array, "..."]) -> None:
    """Refuse ids of data that have no embedding, where they are known.

    Args:
        model: The model that reads them.
        ids: Token ids, an array of any shape.
    """
    if not known(ids):
        return
    least, most = np.min(np.asarray(ids)), np.max(np.asarray(ids))
    count = len(model.embedding)
    if not 0 <= least <= most < count:
        raise DeclarationError(
            "x",
            got=f"token ids from {least} to {most}",
            expected=f"ids from 0 to {count - 1}, of a vocabulary of {count}",
            mend="make the model as large as the tokens, vocabulary=len(tokens), and give "
            "padding an id of its own",
        )
