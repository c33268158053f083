"""Which directions of the weights some data leave free, and what two parts of the data share."""

from collections.abc import Hashable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ..compile import Gibbs
from ..compile import prior as prior_alone
from ..core import (
    DeclarationError,
    Fraction,
    Model,
    NonNegative,
    Positive,
    map_within,
    text_of_values,
    typed,
    weights_of,
    with_weights,
)
from ..declare import (
    AbstractChart,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    output_shape,
)
from ._subsets import Subsets, rows_of, subset_rows


@typed
class FreeDirections(eqx.Module):
    """What `free_directions` returns: the outputs on some data, to first order in the weights.

    `J = ∂f/∂u` over the whitened free weights `u`, in which the prior is a unit Gaussian, so that a
    singular value is what one prior standard deviation along its direction does to the outputs.

    - `singular` `[direction]`: singular values, falling, in units of the output (zeros among them
      for the data that are left out).
    - `directions` `[direction, weight]`: right singular vectors; the first `rank` of them are the
      constrained directions.
    - `threshold`: a singular value above it counts.
    - `shapes`: path and shape of each free leaf, in the order of `weight` (a masked leaf is the
      vector of its free entries).
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)
    singular: Float[Array, " direction"]
    directions: Float[Array, "direction weight"]
    threshold: Float[Array, ""]

    @property
    def rank(self) -> Int[Array, ""]:
        """Number of constrained directions: singular values above the threshold."""
        return jnp.sum(self.singular > self.threshold)

    @property
    def free(self) -> Int[Array, ""]:
        """Dimension of the null space: directions that move no output on these data."""
        return self.directions.shape[1] - self.rank

    def effective(self, tolerance: NonNegative) -> Float[Array, ""]:
        """`Σ_k σ_k²/(σ_k² + ε²)`: directions that errors of size ε constrain."""
        return jnp.sum(self._weight(tolerance))

    def information(self, tolerance: NonNegative) -> Float[Array, ""]:
        """`½ logdet(I + J Jᵀ/ε²)` in nats: what outputs with Gaussian errors of size ε say about
        the weights, to first order."""
        return _information(self.singular, jnp.asarray(tolerance))

    def leverage(self, tolerance: NonNegative | None = None) -> dict[str, Array]:
        """How far each weight is pinned: the diagonal of the projector onto the constrained
        directions, by path, each entry in [0, 1].

        0: the weight is free on these data; 1: it is fixed. They sum to `rank`. With a tolerance,
        directions count as in `effective`, and that is the sum.
        """
        paths = [path for path, _ in self.shapes]
        return dict(zip(paths, _leverage(self, tolerance), strict=True))

    def share(self, tolerance: NonNegative | None = None) -> dict[str, Array]:
        """Mean leverage of each leaf: constrained directions in it over its number of weights."""
        return {path: jnp.mean(h) for path, h in self.leverage(tolerance).items()}

    def _weight(self, tolerance) -> Float[Array, " direction"]:
        if tolerance is None:
            return (self.singular > self.threshold).astype(self.singular.dtype)
        ratio = tolerance / jnp.where(self.singular > 0, self.singular, 1.0)
        return jnp.where(self.singular > 0, 1 / (1 + ratio**2), 0.0)

    @text_of_values
    def __repr__(self) -> str:
        total = self.directions.shape[1]
        lines = [
            f"FreeDirections: {int(self.rank)} of {total} directions constrained, "
            f"{int(self.free)} free",
        ]
        for path, h in self.leverage().items():
            lines.append(f"{path}: {float(jnp.sum(h)):.3g} of {h.size}")
        return "\n  ".join(lines)


@typed
class Overlap(eqx.Module):
    """What `overlap` returns; matrices over the subsets, each symmetric.

    Args:
        rank: `rank J_s + rank J_t - rank J_{s∪t}`, the constraints that both impose; on the
            diagonal the number of constraints of each.
        information: `½[logdet(I+G_s) + logdet(I+G_t) - logdet(I+G_{s∪t})]`, `G = J Jᵀ/ε²`, in nats:
            the mutual information of the outputs on the two (to first order, Gaussian errors of
            size ε, weights from the prior); positive where they use the same weights, also when
            each may be satisfied without the other. On the diagonal what each says about the
            weights.
        names: Of the subsets, in the order of the matrices.
    """

    names: tuple[Hashable, ...] = eqx.field(static=True)
    rank: Int[Array, "subset subset"]
    information: Float[Array, "subset subset"]

    @text_of_values
    def __repr__(self) -> str:
        lines = [f"Overlap of {list(self.names)}: rank | information in nats"]
        for rank, nats in zip(np.asarray(self.rank), np.asarray(self.information), strict=True):
            left = " ".join(f"{r:4d}" for r in rank)
            lines.append(f"{left} | " + " ".join(f"{h:8.3f}" for h in nats))
        return "\n  ".join(lines)


@typed
def free_directions(
    model: Model,
    x: Float[Array, "datum ..."],
    *,
    subset: ArrayLike | None = None,
    prior: Independent | Distribution | None = None,
    chart: AbstractChart | None = None,
    rtol: Fraction | None = None,
) -> FreeDirections:
    """Directions of the weights along which no output on a subset of the data moves.

    At the weights of `model`, to first order. `x` is `[datum, ...]`; `subset` an index list or mask
    (all data, if not given). The weights are whitened by `prior` (unit Gaussian, if not given) at
    the point where they are: `du = p(w)/φ(u) dw`. `chart` says which weights may move at all.

    The rank counts singular values above `rtol` times the largest singular value of all data in
    `x`, so that the ranks of subsets compare; `rtol` is `max(rows, weights) * eps` of the dtype if
    not given, which is what rounding can make of a zero. Singular values are those of `J`, never of
    `J Jᵀ`, in which digits below √eps are lost.

    Raises:
        DeclarationError: Data or subsets that do not fit, weights outside the prior's support, and
            priors without a distribution function.
    """
    gibbs, x = _declared(model, x, prior, chart)
    mask = np.ones(x.shape[0], bool)
    if subset is not None:
        mask[:] = False
        mask[subset_rows("subset", subset, x.shape[0])] = True
    return FreeDirections(_shapes(gibbs), *_decomposed(gibbs, x, jnp.asarray(mask), rtol))


@typed
def overlap(
    model: Model,
    x: Float[Array, "datum ..."],
    subsets: Subsets,
    *,
    tolerance: Positive,
    prior: Independent | Distribution | None = None,
    chart: AbstractChart | None = None,
    rtol: Fraction | None = None,
) -> Overlap:
    """What the constraints of each two subsets of the data share, at the weights of `model`.

    By rank, which sees constraints that both impose, and by logdet, which sees weights that both
    use: two data whose gradients are neither parallel nor orthogonal have rank overlap 0 and
    logdet overlap above 0. `tolerance` is ε, the size of an error, in units of the output. The rest
    is as in `free_directions`. A datum of both subsets counts in full: it is one measurement.

    One QR factorisation, then the singular values of each subset's columns of the triangle.

    Args:
        subsets: Places of the data of each subset, by name.
        chart: Which weights count; all if None.
        tolerance: `ε`.
    """
    gibbs, x = _declared(model, x, prior, chart)
    named = rows_of(subsets, x.shape[0])
    jacobian = whitened_jacobian(gibbs, x)
    count, outputs, weights = jacobian.shape
    whole = jacobian.reshape(count * outputs, weights)
    masks = np.zeros((len(named), count), bool)
    for mask, rows in zip(masks, named.values(), strict=True):
        mask[rows] = True
    rank, information = _overlap(
        whole,
        jnp.asarray(np.repeat(masks, outputs, axis=1)),
        _threshold(whole, rtol),
        jnp.asarray(tolerance, whole.dtype),
    )
    return Overlap(tuple(named), rank, information)


@eqx.filter_jit
def _decomposed(gibbs: Gibbs, x: Array, mask: Array, rtol: float | None):
    """Singular values and vectors on a subset, and the threshold of all data."""
    jacobian = whitened_jacobian(gibbs, x)
    # rows of zeros for data that are left out: more singular values that are zero
    part = jnp.where(mask[:, None, None], jacobian, 0.0)
    whole, part = (j.reshape(-1, j.shape[-1]) for j in (jacobian, part))
    _, singular, directions = jnp.linalg.svd(part, full_matrices=False)
    return singular, directions, _threshold(whole, rtol)


@eqx.filter_jit
def _leverage(directions: FreeDirections, tolerance) -> list[Array]:
    """Leaf by leaf (as a list: a dictionary that has been through `jit` has its keys sorted)."""
    flat = jnp.sum(directions._weight(tolerance)[:, None] * directions.directions**2, axis=0)
    sizes = [int(np.prod(shape)) for _, shape in directions.shapes]
    pieces = jnp.split(flat, np.cumsum(sizes)[:-1])
    return [h.reshape(shape) for h, (_, shape) in zip(pieces, directions.shapes, strict=True)]


@eqx.filter_jit
def _overlap(whole: Array, masks: Array, threshold: Array, tolerance: Array):
    triangle = jnp.linalg.qr(whole.T, mode="r")

    def own(mask):
        singular = jnp.linalg.svd(jnp.where(mask, triangle, 0.0), compute_uv=False)
        return jnp.sum(singular > threshold), _information(singular, tolerance)

    # a subset with itself has the union of its own, so that its diagonal is its own number
    single = jax.lax.map(own, masks)
    pairs = (masks[:, None] | masks[None]).reshape(-1, masks.shape[1])
    both = jax.lax.map(own, pairs)
    size = masks.shape[0]
    return tuple(
        alone[:, None] + alone[None] - union.reshape(size, size)
        for alone, union in zip(single, both, strict=True)
    )


@eqx.filter_jit
def whitened_jacobian(
    gibbs: Gibbs, x: Float[Array, "datum ..."]
) -> Float[Array, "datum out weight"]:
    """`∂f(x_i)/∂u` over the free weights, whitened by the prior."""
    coordinates = gibbs.coordinates
    paths = _paths(gibbs)
    free = {path: coordinates.base[path] for path in paths}

    def outputs(free, z):
        full = coordinates.base | free
        full = full | {leaf: full[source] for leaf, source in coordinates.ties.items()}
        return jnp.ravel(with_weights(gibbs.declared, full)(z))

    gradients = map_within(lambda z: jax.jacrev(outputs)(free, z), x)
    columns = []
    for path in paths:
        prior, leaf, slope = coordinates.priors[path], free[path], gradients[path]
        if isinstance(prior, MultivariateNormal):
            slope = jnp.einsum("...i,...ij->...j", slope, prior.scale_tril)
        else:
            slope = slope * jnp.broadcast_to(_scale(path, prior, leaf), leaf.shape)[None, None]
        flat = slope.reshape(*slope.shape[:2], -1)
        columns.append(
            flat[..., coordinates.indices[path]] if path in coordinates.indices else flat
        )
    return jnp.concatenate(columns, axis=-1)


def _scale(path: str, prior: Distribution, w: Array) -> Array:
    """`dw/du = φ(u)/p(w)` where `u = Φ⁻¹(F(w))` is standard normal if `w` is of the prior."""
    if isinstance(prior, Normal):
        return jnp.broadcast_to(prior.scale, w.shape)
    try:
        tiny = jnp.finfo(w.dtype).eps
        u = jax.scipy.special.ndtri(jnp.clip(prior.cdf(w), tiny, 1 - tiny))
    except (NotImplementedError, ImportError) as error:
        raise DeclarationError(
            f"prior[{path!r}]",
            got=f"{type(prior).__name__}, which has no distribution function",
            expected="a prior that is the image of a standard normal",
            mend="use a Normal, MultivariateNormal, Uniform, Laplace or another univariate "
            "distribution with `cdf`",
        ) from error
    return jnp.exp(jax.scipy.stats.norm.logpdf(u) - prior.log_prob(w))


def _information(singular: Array, tolerance: Array) -> Float[Array, ""]:
    """`½ Σ log(1 + σ²/ε²)`, also where the square would overflow."""
    return 0.5 * jnp.sum(jnp.logaddexp(0.0, 2 * (jnp.log(singular) - jnp.log(tolerance))))


def _threshold(whole: Array, rtol: float | None) -> Float[Array, ""]:
    rtol = max(whole.shape) * float(jnp.finfo(whole.dtype).eps) if rtol is None else rtol
    return rtol * jnp.linalg.norm(whole, ord=2)


def _declared(model, x, prior, chart) -> tuple[Gibbs, Array]:
    x = jnp.asarray(x, float)
    if not len(x):
        raise DeclarationError(
            "x", got=f"shape {x.shape}", expected="at least one datum", mend="put the data first"
        )
    output_shape(model, x.shape[1:])
    gibbs = prior_alone(model, Normal() if prior is None else prior, chart=chart)
    gibbs.position()  # refuses weights outside the support
    return gibbs, x


def _paths(gibbs: Gibbs) -> list[str]:
    """The free leaves in the order of the model (a dictionary loses it under `jit`)."""
    return [path for path in weights_of(gibbs.declared) if path in gibbs.coordinates.priors]


def _shapes(gibbs: Gibbs) -> tuple[tuple[str, tuple[int, ...]], ...]:
    coordinates = gibbs.coordinates
    return tuple(
        (path, tuple(coordinates.indices.get(path, coordinates.base[path]).shape))
        for path in _paths(gibbs)
    )
