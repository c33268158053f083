"""The data kernel: the mean over neurons of products of their outputs at pairs of data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    Arrays,
    Count,
    DeclarationError,
    Estimate,
    check_finite,
    estimate_of_parts,
    known,
    map_within,
    text_of_values,
    typed,
)
from ._layered import Layered
from ._self_consistency import AbstractEnsemble


@typed
class DataKernel(eqx.Module):
    """`K(x, x') = (1/N) Σ_i h_i(x) h_i(x')` at data, an observable of a population of neurons.

    - `estimate` `[datum, datum]`: `K`, with the standard error of the mean over neurons: exact
      for this population, an estimate for the law that its neurons were drawn from.
    - `weights` `[datum]`: of the measure; the kernel is the operator `f ↦ ∫ K(x, x') f(x') dm`.

    Several outputs of a neuron count as so many data (in the order `datum, out`).
    """

    estimate: Estimate
    weights: Float[Array, " datum"]

    @property
    def values(self) -> Float[Array, "datum datum"]:
        """`K` at pairs of data."""
        return self.estimate.value

    @property
    def operator(self) -> Float[Array, "datum datum"]:
        """`√w K √w`: `K` as a matrix in the inner product of the measure."""
        root = jnp.sqrt(self.weights)
        return root[:, None] * self.values * root

    @property
    def noise(self) -> Float[Array, ""]:
        """`(Σ w w' se²)^½`: how far, in `frobenius_distance`, the kernel of so many independent
        neurons is from that of their law, root mean square."""
        spread = self.estimate.standard_error**2
        return jnp.sqrt(self.weights @ spread @ self.weights)

    @text_of_values
    def __repr__(self) -> str:
        count = float(self.estimate.ess.reshape(-1)[0])
        trace = float(jnp.trace(self.operator))
        size = float(jnp.linalg.norm(self.operator))
        return (
            f"DataKernel of {count:.0f} neurons at {len(self.weights)} data: trace {trace:.4g}, "
            f"effective rank {(trace / size) ** 2:.3g}, noise {float(self.noise) / size:.2g} of |K|"
        )


@typed
def neuron_functions(
    problem: AbstractEnsemble,
    net: Arrays,
    points: Arrays | None = None,
    *,
    layer: Count | None = None,
) -> Float[Array, "neuron datum *out"]:
    """Outputs of each neuron of a net, `h_i(x)`, whose mean is `f`; or activations of a layer.

    Args:
        points: Inputs with a leading axis; the nodes of the problem's measure if not given.
        layer: Of a `Layered` net, 1 to `L`: `φ_l,i(x)`, without readout; if not given, the last
            layer with its readout.

    Raises:
        DeclarationError: A layer of a net that has none.
    """
    points = problem.inputs() if points is None else points
    check_finite("points", points, "leave out data with missing values")
    check_finite("net", net, "look at the status of the run that gave it")
    if layer is not None:
        depth = problem.depth if isinstance(problem, Layered) else 0
        if layer > depth:
            raise DeclarationError(
                "layer",
                got=f"{layer} of a {type(problem).__name__}",
                expected=f"1 to {depth}" if depth else "a Layered problem",
                mend="leave it out for the functions that `f` is the mean of",
            )
    neurons = net
    if isinstance(problem, Layered):
        problem = problem.riding(problem.depth)
        neurons = problem.copies(net)
    return _functions(problem, net, neurons, points, layer)


@typed
def data_kernel(
    functions: Float[Array, "neuron datum *out"],
    weights: Float[Array, " weight"] | None = None,
) -> DataKernel:
    """The kernel of neurons by their functions at data (as of `neuron_functions`).

    `weights` are those of the measure at the data; `1/n` each if not given. Standard errors are
    over neurons, which count as independent.

    Args:
        functions: `h_i` at the data, `[neuron, datum, *out]`.
        weights: `[datum]`.

    Raises:
        DeclarationError: Fewer than two neurons, or weights of another length.
    """
    neurons, data = functions.shape[:2]
    if neurons < 2:
        raise DeclarationError(
            "functions",
            got=f"{neurons} neurons",
            expected="at least two, for the error of their mean",
            mend="pass the functions of a population, [neuron, datum]",
        )
    if weights is None:
        weights = jnp.full(data, 1 / data, functions.dtype)
    if len(weights) != data:
        raise DeclarationError(
            "weights",
            got=f"{len(weights)} weights",
            expected=f"{data}, one a datum",
            mend="pass `problem.measure.nodes()[1]`",
        )
    check_finite("functions", functions, "look at the status of the run that gave the neurons")
    check_finite("weights", weights, "pass `problem.measure.nodes()[1]`")
    return _kernel(functions, jnp.asarray(weights, functions.dtype))


@typed
def frobenius_distance(a: DataKernel, b: DataKernel) -> Float[Array, ""]:
    """`|K_a - K_b| = (∬ (K_a - K_b)² dm dm')^½`, the Hilbert-Schmidt norm.

    Two populations of `N` independent neurons of one law are `(a.noise² + b.noise²)^½` apart.
    """
    _same(a, b)
    return jnp.linalg.norm(a.operator - b.operator)


@typed
def procrustes_distance(a: DataKernel, b: DataKernel) -> Float[Array, ""]:
    """Distance of two populations up to rotation: `min_R |H_a - R H_b|` over orthogonal `R`,
    `H` the functions over `√N` (the smaller population filled up with zeros).

    It is the Bures distance of the kernels, `(tr A + tr B - 2 tr (A^½ B A^½)^½)^½` (Bhatia, Jain &
    Lim 2019, Expositiones Mathematicae 37:165, theorem 1), and is computed as `|A^½ - R B^½|` at
    the best `R`, which keeps the digits of small distances.

    Args:
        a: The kernel of a population, of `data_kernel`.
        b: That of another.
    """
    _same(a, b)
    return _procrustes(a.operator, b.operator)


@typed
def alignment(a: DataKernel, b: DataKernel) -> Float[Array, ""]:
    """Centred kernel alignment, `⟨A, B⟩/(|A| |B|)` of the kernels centred over the measure: 1 for
    kernels that are proportional, 0 for none in common (Kornblith et al. 2019, ICML, eq. 1).

    Blind to scale; biased upward where data are more than neurons. NaN for a constant function.

    Args:
        a: The kernel of a population, of `data_kernel`.
        b: That of another.
    """
    _same(a, b)
    return _alignment(a, b)


@typed
def gradient_flow(
    kernel: DataKernel,
    start: Float[Array, " datum"],
    target: Float[Array, " datum"],
    times: Float[Array, " time"],
) -> Float[Array, "time datum"]:
    """`f(t)` at the data when a linear readout is trained by gradient flow on the loss.

    For `f = (1/N) Σ_i a_i h_i` with features `h` and `da_i/dt = -N ∂loss/∂a_i` it is
    `df/dt = -∫ K(x, x') (f - y)(x') dm`, whatever the features are besides their kernel:
    `f = y + exp(-K t)(f_0 - y)` (Jacot, Gabriel & Hongler 2018, NeurIPS, section 4).

    Args:
        kernel: Of `data_kernel`.
        start: `f_0` at the data.
        target: `y` at the data.
        times: `t`.
    """
    return _flow(kernel, start, target, times)


@eqx.filter_jit
def _functions(problem, net, neurons, points, layer):
    if layer is not None:
        found = map_within(lambda x: problem.activations(net, x)[layer - 1], points)
        return found.T
    return map_within(lambda one: jax.vmap(lambda x: problem.couple(net, one, x))(points), neurons)


@eqx.filter_jit
def _kernel(functions, weights):
    count, data = functions.shape[:2]
    flat = functions.reshape(count, -1)
    outputs = flat.shape[1] // data
    kernel = flat.T @ flat / count
    # the mean square of products is the product of squares: no array of [neuron, datum, datum]
    square = (flat**2).T @ (flat**2) / count
    error = jnp.sqrt(jnp.clip(square - kernel**2, 0.0) / (count - 1))
    return DataKernel(estimate_of_parts(kernel, error, count), jnp.repeat(weights, outputs))


@eqx.filter_jit
def _procrustes(a, b):
    left, right = _root(a), _root(b)
    u, _, v = jnp.linalg.svd(left @ right)
    return jnp.linalg.norm(left - (right @ v.T) @ u.T)


@eqx.filter_jit
def _alignment(a: DataKernel, b: DataKernel):
    left, right = _centred(a), _centred(b)
    return jnp.sum(left * right) / (jnp.linalg.norm(left) * jnp.linalg.norm(right))


@eqx.filter_jit
def _flow(kernel: DataKernel, start, target, times):
    root = jnp.sqrt(kernel.weights)
    safe = jnp.where(root > 0, root, 1.0)
    values, vectors = jnp.linalg.eigh(kernel.operator)
    modes = vectors.T @ (root * (start - target))
    decay = jnp.exp(-times[:, None] * jnp.clip(values, 0.0))
    return target + (decay * modes) @ vectors.T / safe


def _root(matrix):
    """The positive root of a positive matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.sqrt(jnp.clip(values, 0.0))) @ vectors.T


def _centred(kernel: DataKernel):
    w = kernel.weights / jnp.sum(kernel.weights)
    row = kernel.values @ w
    centred = kernel.values - row[:, None] - row + w @ row
    root = jnp.sqrt(w)
    return root[:, None] * centred * root


def _same(a: DataKernel, b: DataKernel) -> None:
    """Both kernels must be of one measure at the same data."""
    told = known(a.weights, b.weights)
    fits = a.weights.shape == b.weights.shape
    if not fits or (told and not np.allclose(a.weights, b.weights, rtol=1e-5, atol=0)):
        raise DeclarationError(
            "b",
            got=f"a kernel at {len(b.weights)} data",
            expected=f"the {len(a.weights)} data and weights of `a`",
            mend="evaluate both populations at the same points",
        )
