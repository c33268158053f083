"""Modular addition, declared: table, neuron, prior, self-consistency, finite net."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ..compile import Gibbs, compile
from ..core import (
    Count,
    DeclarationError,
    Key,
    NonNegative,
    Positive,
    typed,
    with_weights,
)
from ..declare import (
    AbstractMeasure,
    Distribution,
    Empirical,
    Independent,
    MultivariateNormal,
    Normal,
    SquaredError,
)
from ..meanfield import AbstractEnsemble, Neuron, SelfConsistency
from ._arguments import Modulus, Share

TABLE = 4096
"""Points of the tables that turn uniform numbers into weights."""


@typed
class ModularPrior(Distribution):
    """Weights on the circle of `P` points: `p(w) ∝ exp(-½|w|² - (γP/6) Σ_k |w_k|⁶)`.

    `w_k = (1/P) Σ_n w_n e^{-2πikn/P}`, `k` over all `P` modes. The modes are independent: `w_0` is
    real, and of each pair `k, -k` the phase is uniform and `t = |w_k|²` has the density
    `∝ exp(-P t - γP t³/3)`. At `γ = 0` the weights are standard normal. One event is `[P]`.

    `icdf` maps `P` uniform numbers to the weights (a mode takes two of them), so that the prior is
    the image of a standard normal; linear between the points of a table.
    """

    arg_constraints = {}
    support = MultivariateNormal.support
    pytree_data_fields = ("gamma", "log_constant", "size_table", "mean_table")
    pytree_aux_fields = ("modulus",)

    def __init__(self, modulus: Modulus, gamma: NonNegative = 1.0):
        self.modulus = modulus
        strength = float(gamma)  # a table is made of it: a value, also under `jit`
        self.gamma = jnp.asarray(strength)
        size, mean, log_constant = _tables(self.modulus, strength)
        self.size_table, self.mean_table = jnp.asarray(size), jnp.asarray(mean)
        self.log_constant = jnp.asarray(log_constant)
        super().__init__(batch_shape=(), event_shape=(self.modulus,))

    def log_prob(self, value: ArrayLike, intermediates: list | None = None):
        """Normalised log-density of `[..., P]` weights, in nats."""
        p, value = self.modulus, jnp.asarray(value)
        sixth = 2 * jnp.sum(modular_modes(value) ** 3, axis=-1) + jnp.mean(value, axis=-1) ** 6
        normal = -0.5 * jnp.einsum("...n,...n->...", value, value) - 0.5 * p * np.log(2 * np.pi)
        return normal - self.gamma * p / 6 * sixth - self.log_constant

    def icdf(self, q: ArrayLike):
        """Weights `[..., P]` of `[..., P]` uniform numbers in (0, 1)."""
        p, half, q = self.modulus, (self.modulus - 1) // 2, jnp.asarray(q)
        mean = jnp.interp(jax.scipy.special.ndtri(q[..., 0]), *self.mean_table)
        size = jnp.interp(-jnp.log1p(-q[..., 1 : half + 1]), *self.size_table)
        angle = 2 * jnp.pi * q[..., half + 1 :]
        cos, sin = _waves(p)
        radius = 2 * jnp.sqrt(size)
        wave = (radius * jnp.cos(angle)) @ cos - (radius * jnp.sin(angle)) @ sin
        return mean[..., None] + wave

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()):
        shape = (*sample_shape, *self.batch_shape, self.modulus)
        dtype = self.size_table.dtype
        tiny = jnp.finfo(dtype).tiny
        return self.icdf(jax.random.uniform(key, shape, dtype, minval=tiny))


@typed
class ModularUnit(eqx.Module):
    """`h(x) = σ_a a (w_n + v_m)²`, `[P]`, of a pair `x`: `n` and `m` one-hot, `[2P]`.

    With `product`, `h(x) = 2 σ_a a w_n v_m`: what of the square couples to the target of the whole
    table, without what depends on `n` or `m` alone. The scale `σ_a` is no weight: all weights are
    of order one, as dynamics with one step want it.

    Args:
        modulus: `P`.
        readout: `a`, `[modulus]`.
        left: `w`, `[modulus]`.
        right: `v`, `[modulus]`.
        scale: `σ_a`.
        product: Whether the square is replaced by its mixed term.
    """

    readout: Float[Array, " modulus"]
    left: Float[Array, " modulus"]
    right: Float[Array, " modulus"]
    scale: float = eqx.field(static=True)
    product: bool = eqx.field(static=True)

    def __init__(self, modulus: Modulus, scale: Positive, product: bool = False):
        self.readout = self.left = self.right = jnp.zeros(modulus)
        self.scale, self.product = float(scale), product

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " modulus"]:
        p = self.left.shape[0]
        left, right = jnp.dot(self.left, x[:p]), jnp.dot(self.right, x[p:])
        active = 2 * left * right if self.product else (left + right) ** 2
        return self.scale * self.readout * active


@typed
class ModularNet(eqx.Module):
    """`f(x) = (1/N) Σ_i h_i(x)`: `N` of `ModularUnit`, their sum a product of matrices.

    Args:
        readout: `a` of each unit, `[unit, modulus]`.
        left: `w`.
        right: `v`.
        scale: `σ_a`.
        product: See `ModularUnit`.
    """

    readout: Float[Array, "unit modulus"]
    left: Float[Array, "unit modulus"]
    right: Float[Array, "unit modulus"]
    scale: float = eqx.field(static=True)
    product: bool = eqx.field(static=True)

    def __init__(self, modulus: Modulus, width: Count, scale: Positive, product: bool = False):
        self.readout = self.left = self.right = jnp.zeros((width, modulus))
        self.scale, self.product = float(scale), product

    def __call__(self, x: Float[Array, " input"]) -> Float[Array, " modulus"]:
        p = self.left.shape[1]
        left, right = self.left @ x[:p], self.right @ x[p:]
        active = 2 * left * right if self.product else (left + right) ** 2
        return (self.scale / self.left.shape[0]) * (active @ self.readout)


@typed
class ModularEnsemble(AbstractEnsemble):
    """The nets of a problem of `modular_addition`, for `train`: the same law, sums as products.

    Args:
        problem: What `modular_addition` returns.
        target: That of the problem.
        measure: That of the problem.
        temperature: That of the problem.
    """

    problem: SelfConsistency
    target: None
    measure: AbstractMeasure
    temperature: Float[Array, ""]

    def __init__(self, problem: SelfConsistency):
        if not isinstance(problem.neuron.model, ModularUnit):
            raise DeclarationError(
                "problem",
                got=f"a neuron {type(problem.neuron.model).__name__}",
                expected="a problem of modular addition",
                mend="pass modular_addition(...)",
            )
        self.problem, self.target = problem, None
        self.measure, self.temperature = problem.measure, problem.temperature

    def at(self, noise: Positive) -> "ModularEnsemble":
        """The same at another noise `s²`."""
        return ModularEnsemble(self.problem.at(noise))

    def net(self, net: dict[str, Array]) -> ModularNet:
        """The function of a net with these coordinates."""
        width, modulus = net["left"].shape
        unit = self.problem.neuron.model
        model = ModularNet(modulus, width, unit.scale, unit.product)
        return with_weights(model, net)

    def draw_net(self, key, width):
        return self.problem.draw_net(key, width)

    def draw_riders(self, key, count, width):
        return self.problem.draw_riders(key, count, width)

    def size(self, net):
        return net["left"].shape[0]

    def output(self, net, x):
        return self.net(net)(x)

    def couple(self, net, rider, x):
        return self.problem.couple(net, rider, x)

    def log_prior(self, net):
        return self.problem.coordinates.log_prior(net)  # sums over a leading axis

    def log_prior_rider(self, rider):
        return self.problem.log_prior_rider(rider)


@typed
def modular_table(
    modulus: Modulus,
) -> tuple[Float[Array, "pair input"], Float[Array, "pair modulus"]]:
    """All `P²` pairs `(n, m)`, one-hot `[P², 2P]`, and targets `1[n + m = q mod P] - 1/P`.

    Pair `(n, m)` is row `P n + m`.
    """
    p = modulus
    n, m = np.divmod(np.arange(p * p), p)
    one = np.eye(p)
    x = np.concatenate([one[n], one[m]], axis=1)
    return jnp.asarray(x), jnp.asarray(one[(n + m) % p] - 1 / p)


@typed
def modular_split(
    modulus: Modulus, fraction: Share, *, key: Key
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Rows of the table to learn from, a random `fraction` of them, and the others, both sorted."""
    p = modulus
    count = round(fraction * p * p)
    if not count:
        raise DeclarationError(
            "fraction",
            got=repr(fraction),
            expected=f"between 1/{p * p} and 1",
            mend="pass e.g. fraction=0.8",
        )
    order = np.asarray(jax.random.permutation(key, p * p))
    return np.sort(order[:count]), np.sort(order[count:])


@typed
def modular_addition(
    modulus: Modulus,
    noise: Positive,
    *,
    readout_scale: Positive,
    gamma: NonNegative = 1.0,
    rows: Int[np.ndarray, " datum"] | None = None,
    product: bool = False,
) -> SelfConsistency:
    """A neuron that adds modulo `P` in the field of its ensemble.

    `h_q(n, m) = σ_a a_q (w_n + v_m)²`, `a_q ~ N(0, 1)`, `w` and `v` of `ModularPrior`; the target
    of `modular_table`. The measure counts data, and their noise in a net of `N` neurons has the
    variance `s²/N`, so that the temperature is `s²`. Rubin, Seroussi & Ringel (2024, ICLR,
    arXiv:2310.03789) in mean-field units; `modular_exact` solves it.

    Args:
        modulus: `P`, odd.
        noise: `s²`.
        readout_scale: `σ_a`.
        gamma: `γ`.
        rows: Rows of the table that are data; all if None. The others have the weight 0, so that
            tables of all sizes share their compiled functions.
        product: Units `2 σ_a a w_n v_m` instead: the same law on the whole table, since a function
            of `n` or of `m` alone does not couple to its target; not on a part of it.

    Raises:
        DeclarationError: Rows that are not in the table, or twice the same.
    """
    measure, temperature, prior = _parts(modulus, noise, gamma, rows)
    neuron = Neuron(ModularUnit(modulus, readout_scale, product), prior)
    return SelfConsistency(neuron, None, measure, temperature)


@typed
def modular_gibbs(
    modulus: Modulus,
    width: Count,
    noise: Positive,
    *,
    readout_scale: Positive,
    gamma: NonNegative = 1.0,
    rows: Int[np.ndarray, " datum"] | None = None,
    product: bool = False,
) -> Gibbs:
    """The Gibbs measure of a net of `width` neurons: `modular_addition(...).gibbs(width)`, faster.

    Its model is a `ModularNet`, whose sums over neurons are products of matrices. `beta` is
    `N/s²`: `.at(width / noise)` changes the noise without compiling.

    Args:
        readout_scale: `σ_a`.
        rows: Rows of the table that are seen; all if None.
        product: See `ModularUnit`.
    """
    measure, temperature, prior = _parts(modulus, noise, gamma, rows)
    net = ModularNet(modulus, width, readout_scale, product)
    energy = SquaredError(net, measure, None)
    return compile(energy, prior, beta=width / temperature, marginalise=False)


@typed
def modular_modes(weights: Float[Array, "*batch modulus"]) -> Float[Array, "*batch mode"]:
    """`|w_k|²` of the modes `k = 1, ..., (P-1)/2`; `w_k = (1/P) Σ_n w_n e^{-2πikn/P}`."""
    cos, sin = _waves(weights.shape[-1])
    p = weights.shape[-1]
    return ((weights @ cos.T) ** 2 + (weights @ sin.T) ** 2) / p**2


@typed
def modular_residual(
    net: ModularNet,
    x: Float[Array, "pair input"],
    y: Float[Array, "pair modulus"],
) -> Float[Array, ""]:
    """`r`: the part of the target that is left, `⟨y - f, y⟩/⟨y, y⟩`, on some pairs."""
    f = jax.vmap(net)(x)
    return 1 - jnp.vdot(f, y) / jnp.vdot(y, y)


def _parts(modulus, noise, gamma, rows):
    """Data, temperature and prior."""
    x, y = modular_table(modulus)
    chosen = np.ones(len(x))
    if rows is not None:
        once = len(rows) > 0 and len(np.unique(rows)) == len(rows)
        if not (once and rows.min() >= 0 and rows.max() < len(x)):
            raise DeclarationError(
                "rows",
                got=f"{len(rows)} rows",
                expected=f"at least one, each once, between 0 and {len(x) - 1}",
                mend="take them from `modular_split`",
            )
        chosen = np.zeros(len(x))
        chosen[rows] = 1
    measure = Empirical((x, y), weights=jnp.asarray(chosen, x.dtype))
    weights = ModularPrior(modulus, gamma)
    return measure, float(noise), Independent(readout=Normal(), left=weights, right=weights)


def _waves(p: int) -> tuple[np.ndarray, np.ndarray]:
    """`cos` and `sin` of `2πkn/P`, `[(P-1)/2, P]`."""
    angle = 2 * np.pi * np.outer(np.arange(1, (p + 1) // 2), np.arange(p)) / p
    return np.cos(angle), np.sin(angle)


def _tables(p: int, gamma: float) -> tuple[np.ndarray, np.ndarray, float]:
    """`-log P[|w_k|² > t]` against `t`, normal quantiles against `w_0`, log of the constant.

    The constant is that of the density relative to the standard normal one.
    """
    from scipy.integrate import cumulative_simpson
    from scipy.special import ndtri

    t = np.linspace(0, 1, 32 * TABLE + 1) ** 2 * 40 / p
    # the integral from t to the end, in units of the density at t
    density = np.exp(-p * t - gamma * p * t**3 / 3)
    tail = cumulative_simpson(density[::-1], x=-t[::-1], initial=0)[::-1]
    good = tail > 1e-16 * tail[0]
    chosen = np.linspace(0, good.sum() - 1, TABLE).astype(int)
    size = np.stack([-np.log(tail[chosen] / tail[0]), t[chosen]])
    w = np.linspace(-9, 9, 32 * TABLE + 1) / np.sqrt(p)
    density = np.exp(-p * w**2 / 2 - gamma * p * w**6 / 6)
    below = cumulative_simpson(density, x=w, initial=0)
    upper = below / below[-1]
    good = np.flatnonzero((upper > 1e-15) & (upper < 1 - 1e-9) & (w <= 0))
    chosen = good[np.linspace(0, len(good) - 1, TABLE // 2).astype(int)]
    half = np.stack([ndtri(upper[chosen]), w[chosen]])
    mean = np.concatenate([half, -half[:, ::-1]], axis=1)
    constant = (p - 1) / 2 * np.log(p * tail[0]) + np.log(below[-1] * np.sqrt(p / (2 * np.pi)))
    return size, mean, float(constant)
