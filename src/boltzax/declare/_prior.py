"""Priors: a numpyro distribution for each leaf, by path.

No other file imports `numpyro.distributions`.
"""

import operator
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions import Cauchy as Cauchy
from numpyro.distributions import (
    Delta,
    ExpandedDistribution,
    HurdleLogits,
    HurdleProbs,
    ImproperUniform,
    IntervalCensoredDistribution,
    LeftCensoredDistribution,
    LowRankMultivariateNormal,
    MaskedDistribution,
    MatrixNormal,
    RightCensoredDistribution,
    TransformedDistribution,
    Unit,
    ZeroSumNormal,
    constraints,
)
from numpyro.distributions import Distribution as Distribution
from numpyro.distributions import Gamma as Gamma
from numpyro.distributions import HalfNormal as HalfNormal
from numpyro.distributions import Independent as Reinterpreted
from numpyro.distributions import Laplace as Laplace
from numpyro.distributions import MultivariateNormal as MultivariateNormal
from numpyro.distributions import Normal as Normal
from numpyro.distributions import StudentT as StudentT
from numpyro.distributions import TruncatedNormal as TruncatedNormal
from numpyro.distributions import Uniform as Uniform
from numpyro.distributions.transforms import AffineTransform
from numpyro.distributions.transforms import biject_to as biject_to

from ..core import WORDS, DeclarationError, Said, eager, finite, known, matches, refuted, typed
from ..numerics import bisect
from ._basis import floating

WORDS[Distribution] = (
    "a distribution of numpyro",
    "pass e.g. bx.Normal() or bx.Uniform(-1, 1) (an instance, not the class)",
)
PRIORS = Said(
    expected="a distribution for each path",
    mend="write Independent(weight=...) or Independent({'*': ...}), or pass the one distribution "
    "itself",
    called="prior",
)
ByPath: TypeAlias = Annotated[Mapping[str, Distribution] | None, PRIORS]
OfField: TypeAlias = Annotated[Distribution, Said(called="prior")]

HALVINGS = 64
"""Steps of the bisection for a quantile."""
REACH = 700.0
"""The bisection starts on [-700, 700], where exponentials are finite floats."""

_NO_DENSITY = (
    Delta,
    HurdleLogits,
    HurdleProbs,
    ImproperUniform,
    IntervalCensoredDistribution,
    LeftCensoredDistribution,
    MaskedDistribution,
    RightCensoredDistribution,
    Unit,
    ZeroSumNormal,
)
"""Distributions whose `log_prob` is not a density of integral one over all entries of a leaf."""


@typed
class Independent(eqx.Module):
    """A prior with independent leaves: one distribution for each path of the weights.

    `Independent(readout=Normal(), embedding=Uniform(-1, 1))` names leaves by field,
    `Independent({"layers[0]": Normal(), "*": Normal(0, 0.1)})` by path, prefix or glob. If several
    patterns match a leaf, an exact path takes precedence, then the longest pattern. The batch shape
    of a distribution must broadcast to the shape of the leaf. Its event shape must equal the last
    axes of the leaf.

    Args:
        by_path: From path, prefix or glob to distribution.
        by_field: The same, for leaves that are fields of the model.
        by_pattern: Both together, as they are kept.

    Raises:
        DeclarationError: For a distribution that is discrete, has no density or has invalid
            parameters; by `compile`, if a free leaf has no distribution or shapes do not match.
    """

    by_pattern: dict[str, Distribution]

    @eager
    def __init__(self, by_path: ByPath = None, /, **by_field: OfField):
        both = dict(by_path or {}) | by_field
        if not both:
            raise DeclarationError(
                "prior",
                got="no distribution",
                expected="at least one distribution",
                mend="pass e.g. Independent(weight=Normal())",
            )
        for pattern, distribution in both.items():
            check_distribution(f"prior[{pattern!r}]", distribution)
        # arrays as parameters, so that new values do not retrace
        self.by_pattern = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), both)

    def resolve(self, weights: dict[str, Array], free: set[str]) -> dict[str, Distribution]:
        """The distribution of each free leaf, without wrappers (see `plain`).

        Args:
            weights: All leaves of the model, by path.
            free: Paths of the free leaves.

        Raises:
            DeclarationError: If a pattern matches no leaf, or a free leaf has no distribution.
        """
        for pattern in self.by_pattern:
            if not any(matches(pattern, path) for path in weights):
                ends = (f".{pattern}", f"[{pattern!r}]")
                similar = [path for path in sorted(weights) if path.endswith(ends)]
                raise DeclarationError(
                    f"prior[{pattern!r}]",
                    got="a pattern that names no weights",
                    expected=f"one of the paths {sorted(weights)}",
                    mend=f"name the whole path: Independent({{{similar[0]!r}: ...}})"
                    if similar
                    else "correct the path, or drop the entry",
                )
        chosen = {path: self._choose(path) for path in free}
        for path, distribution in chosen.items():
            _check_shape(path, distribution, weights[path])
        return {path: plain(distribution) for path, distribution in chosen.items()}

    def _choose(self, path: str) -> Distribution:
        patterns = [p for p in self.by_pattern if matches(p, path)]
        if not patterns:
            raise DeclarationError(
                "prior",
                got=f"no distribution for the weights {path!r}",
                expected="a distribution for every free leaf",
                mend=f"add an entry for {path!r} (or '*'), or freeze that leaf with a chart",
            )
        best = path if path in patterns else max(patterns, key=len)
        rivals = [p for p in patterns if p != best and len(p) == len(best) and best != path]
        if rivals:
            raise DeclarationError(
                "prior",
                got=f"the patterns {[best, *rivals]} for the weights {path!r}",
                expected="one most specific pattern for each leaf",
                mend=f"name {path!r} itself",
            )
        return self.by_pattern[best]


@eager
def check_distribution(argument: str, value: Distribution) -> None:
    """Check that a distribution is continuous, has a density, and has valid parameters.

    Raises:
        DeclarationError: Naming `argument`.
    """
    if value.is_discrete:
        raise DeclarationError(
            argument,
            got=f"the discrete distribution {type(value).__name__}",
            expected="a distribution with a density",
            mend="weights are real: choose a continuous distribution",
        )
    for node in jax.tree.leaves(value, is_leaf=lambda node: isinstance(node, _NO_DENSITY)):
        if isinstance(node, _NO_DENSITY):
            raise DeclarationError(
                argument,
                got=f"a {type(node).__name__}",
                expected="a distribution with a density of integral one over the weights",
                mend="to fix weights use a chart, bx.Freeze(path); to bound them bx.Uniform; to "
                "concentrate them a narrow bx.Normal",
            )
    for leaf in jax.tree.leaves(value):
        if refuted(finite, floating(leaf, argument)):
            raise DeclarationError(
                argument,
                got="a parameter that is NaN or infinite",
                expected="finite parameters",
                mend="correct the parameters of the distribution",
            )
    _check_parameters(argument, value)


def _check_parameters(argument: str, value: Distribution) -> None:
    for name, constraint in value.arg_constraints.items():
        parameter = getattr(value, name, None)
        dependent = type(constraint) is type(constraints.dependent)
        if parameter is not None and not dependent and refuted(constraint, parameter):
            raise DeclarationError(
                argument,
                got=f"{name} = {parameter} in {type(value).__name__}",
                expected=f"{name} in {constraint}",
                mend=f"choose {name} so that the distribution exists",
            )
    base = getattr(value, "base_dist", None)
    if isinstance(base, Distribution):
        _check_parameters(argument, base)
    if isinstance(value, Uniform) and refuted(
        operator.lt, floating(value.low, argument), floating(value.high, argument)
    ):
        raise DeclarationError(
            argument,
            got=f"Uniform({value.low}, {value.high})",
            expected="low < high",
            mend="swap the bounds or widen them",
        )


def as_independent(prior: "Prior") -> Independent:
    """The prior as `Independent`: a single distribution becomes that of all leaves."""
    if isinstance(prior, Independent):
        return prior
    if isinstance(prior, Mapping):
        return Independent(prior)
    check_distribution("prior", prior)
    return Independent({"*": prior})


Prior: TypeAlias = Annotated[
    Independent | Distribution | Mapping[str, Distribution],
    Said(
        expected="a distribution, or one for each path",
        mend="pass e.g. bx.Normal() (an instance, not the class), or bx.Independent(weight=...)",
    ),
]


def in_support(prior: Distribution, value: Array) -> Array | np.ndarray:
    """Which entries of a value lie in the support of the prior."""
    support = prior.support
    assert support is not None
    return np.asarray(support(value)) if known(value) else jnp.asarray(support(value))


def from_normal(path: str, prior: Distribution, u: Array) -> Array:
    """A value with the law of the prior, as a function of standard normals `u`.

    The map is affine for a Gaussian (`is_gaussian`), else `F⁻¹(Φ(u))`, where F is the distribution
    function. For a prior without a quantile function (`StudentT`, `Gamma`), F is inverted by
    bisection.

    Args:
        path: The path of the leaf, for the error.
        prior: The distribution of the leaf.
        u: Standard normals, of the shape of the leaf.

    Raises:
        DeclarationError: If the prior has neither a quantile nor a distribution function.
    """
    if is_gaussian(prior):
        return _gaussian(prior, u)
    tiny = jnp.finfo(u.dtype).eps
    try:
        return quantile(prior, jnp.clip(jax.scipy.special.ndtr(u), tiny, 1 - tiny))
    except (NotImplementedError, ImportError) as error:
        raise DeclarationError(
            f"prior[{path!r}]",
            got=f"{type(prior).__name__}, which has no quantile function",
            expected="a prior that is the image of a standard normal",
            mend="use a Normal, MultivariateNormal, Uniform, StudentT, Gamma or another univariate "
            "distribution with `icdf` or `cdf`; direct drawing takes any prior",
        ) from error


def closed_quantile(prior: Distribution) -> bool:
    """Whether numpyro implements the quantile function of a prior."""
    try:
        jax.eval_shape(prior.icdf, jnp.full(prior.batch_shape + prior.event_shape, 0.5))
    except (NotImplementedError, ImportError):
        return False
    return True


def quantile(prior: Distribution, p: Array) -> Array:
    """The quantiles `F⁻¹(p)`: those of numpyro, or by bisection of F.

    The bisection is over a coordinate `t` of the support: `x = sinh t` on the line, else numpyro's
    bijection. Derivatives are those of a Newton step, so they are the derivatives of `F⁻¹`.

    Raises:
        NotImplementedError: If numpyro implements neither the quantiles nor F.
    """
    if closed_quantile(prior):
        return jnp.asarray(prior.icdf(p))
    support = prior.support
    on_line = support is constraints.real
    place = jnp.sinh if on_line else biject_to(support)
    shape = jnp.broadcast_shapes(p.shape, prior.batch_shape)

    def below(t, _):
        return jnp.asarray(prior.cdf(place(t))) < p, None

    ends = jnp.full(shape, -REACH, p.dtype), jnp.full(shape, REACH, p.dtype)
    low, high, _ = jax.lax.stop_gradient(bisect(below, *ends, HALVINGS))
    x = jax.lax.stop_gradient(place(0.5 * (low + high)))
    density = jax.lax.stop_gradient(jnp.exp(prior.log_prob(x)))
    positive = density > 0
    step = (jnp.asarray(prior.cdf(x)) - p) / jnp.where(positive, density, 1.0)
    # the value of the bisection, with the derivative of the Newton step
    return x - jnp.where(positive, step - jax.lax.stop_gradient(step), 0.0)


def plain(distribution: Distribution) -> Distribution:
    """The same law without wrappers.

    `expand` and `to_event` are removed, as the shape of the leaf is known. An affine image of a
    `Normal` becomes a `Normal`.
    """
    if isinstance(distribution, ExpandedDistribution | Reinterpreted):
        return plain(distribution.base_dist)
    if isinstance(distribution, TransformedDistribution):
        base, every = plain(distribution.base_dist), distribution.transforms
        steps = [step for step in every if isinstance(step, AffineTransform)]
        if isinstance(base, Normal) and len(steps) == len(every):
            loc, scale = jnp.asarray(base.loc), jnp.asarray(base.scale)
            for step in steps:
                loc, scale = step.loc + step.scale * loc, jnp.abs(step.scale) * scale
            return Normal(loc, scale)
    return distribution


GAUSSIAN = (Normal, MultivariateNormal, LowRankMultivariateNormal, MatrixNormal)


def is_gaussian(prior: Distribution) -> bool:
    """Whether a prior without wrappers is an affine image of standard normals."""
    return isinstance(prior, GAUSSIAN)


def _gaussian(prior: Distribution, u: Array) -> Array:
    if isinstance(prior, Normal):
        return jnp.asarray(prior.loc) + jnp.asarray(prior.scale) * u
    if isinstance(prior, MatrixNormal):
        rows, columns = prior.scale_tril_row, prior.scale_tril_column
        return jnp.asarray(prior.loc) + jnp.einsum("...ij,...jk,...lk->...il", rows, u, columns)
    if isinstance(prior, LowRankMultivariateNormal):
        root = jnp.linalg.cholesky(jnp.asarray(prior.covariance_matrix))
    else:
        assert isinstance(prior, MultivariateNormal)
        root = jnp.asarray(prior.scale_tril)
    return jnp.asarray(prior.loc) + jnp.einsum("...ij,...j->...i", root, u)


def _check_shape(path: str, distribution: Distribution, leaf: Array) -> None:
    shape = tuple(leaf.shape)
    event = tuple(distribution.event_shape)
    head = shape[: len(shape) - len(event)]
    fits = shape[len(head) :] == event
    try:
        fits = fits and jnp.broadcast_shapes(distribution.batch_shape, head) == head
    except ValueError:
        fits = False
    if not fits:
        raise DeclarationError(
            f"prior[{path!r}]",
            got=f"batch shape {distribution.batch_shape}, event shape {event}",
            expected=f"a distribution that broadcasts to the leaf's shape {shape}",
            mend="give parameters of the leaf's shape, or scalars for independent entries",
        )
