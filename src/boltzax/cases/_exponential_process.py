"""A Gaussian process with data on a line: how data screen each other, without sampling.

With the kernel `exp(-|r|/ℓ)` and noise `s²` the posterior covariance is `2/ℓ` times the Green's
function of `-d²/dx² + 1/ℓ² + (2/(ℓ s²)) Σ_i δ(x - x_i)`: an electron below the band of random
scatterers. It is a product of two solutions, and so known to relative precision at any distance.
"""

from typing import Annotated, Literal, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs, compile
from ..core import (
    Count,
    DeclarationError,
    Key,
    Positive,
    Said,
    check_finite,
    numpy_generator,
    renamed_arguments,
    typed,
)
from ..declare import AbstractEnergy, Empirical, Function, Normal, SquaredError
from ._arguments import Above, Finite

Places: TypeAlias = Annotated[
    Float[np.ndarray, "_"], Said("numbers along a line", "pass an array of floats of numpy")
]
Background: TypeAlias = Literal["drop", "average", "resample"]


@renamed_arguments(noise="noise_variance")
@typed
@final
class ExponentialProcess(eqx.Module):
    """The posterior of `f ~ GP(0, exp(-|r|/ℓ))` given `y_i = f(x_i) + noise`, in closed form.

    Args:
        x: Places of the data, rising, `[datum]`.
        y: Labels, `[datum]`.
        length: `ℓ`.
        noise_variance: `s²`.
    """

    x: Float[np.ndarray, " datum"]
    y: Float[np.ndarray, " datum"]
    length: float
    noise_variance: float

    def covariance(
        self, first: Places, second: Places, weights: Places | None = None
    ) -> Float[np.ndarray, "place other"]:
        """`Cov(f(a), f(b))` of the posterior, by the Green's function.

        `2/(ℓ (z_-(a) + z_+(a)))` at `a = b`, where `z_-` and `z_+` are the logarithmic slopes of
        the solutions that vanish at minus and at plus infinity; between `a` and `b` it falls by the
        factor of the solution. Relative to rounding at any distance, where differences of kernels
        would end at 1e-16.

        Args:
            first: Places `a`.
            second: Places `b`.
            weights: Of the data, `[datum]`: 0 for one that is left out. All 1 if None.
        """
        grid, where = np.unique(np.concatenate([self.x, first, second]), return_inverse=True)
        jumps = np.zeros(len(grid))
        given = np.ones(len(self.x)) if weights is None else weights
        np.add.at(jumps, where[: len(self.x)], 2 * given / (self.length * self.noise_variance))
        gaps = np.diff(grid)
        right, log_right = _slopes(gaps, jumps, self.length)
        left = _slopes(gaps[::-1], jumps[::-1], self.length)[0][::-1]
        # z_- before a place and z_+ after it; the jump of the datum there is between the two
        variance = 2 / (self.length * (right + left + jumps))
        a, b = where[len(self.x) :][: len(first), None], where[len(self.x) + len(first) :]
        low, high = np.minimum(a, b), np.maximum(a, b)
        return variance[high] * np.exp(log_right[low] - log_right[high])

    def response(self, places: Places) -> Float[np.ndarray, "place datum"]:
        """`d⟨f(a)⟩/dy_j = Cov(f(a), f(x_j))/s²`."""
        return self.covariance(places, self.x) / self.noise_variance

    def mean(self, places: Places) -> Float[np.ndarray, " place"]:
        """`⟨f(a)⟩` of the posterior."""
        return self.response(places) @ self.y

    def screened(
        self,
        centre: Finite,
        radii: Places,
        background: Background = "drop",
        *,
        key: Key | None = None,
    ) -> Float[np.ndarray, " radius"]:
        """The change of `⟨f(centre)⟩` when data farther than each radius are replaced.

        Args:
            centre: Where the prediction is looked at.
            radii: Distances, of which those of the nearest data are kept.
            background: "drop" the far data, "average" their labels, or "resample": replace them by
                draws of the far data with replacement.
            key: For "resample".
        """
        at, out = np.array([centre]), []
        distance = np.abs(self.x - centre)
        rng = None if key is None else numpy_generator(key)
        response = self.response(at)[0]
        for radius in radii:
            far = distance > radius
            if not np.any(far):
                out.append(0.0)
            elif background == "average":
                out.append(response[far] @ (np.mean(self.y[far]) - self.y[far]))
            elif background == "drop":
                # the field of the far data moves the prediction through the response of the near
                # ones: -Σ_far C_near(a, x_j) (y_j - f(x_j))/s², without a difference of means
                near = self.covariance(at, self.x[far], (~far).astype(float))[0]
                out.append(-near @ (self.y[far] - self.mean(self.x[far])) / self.noise_variance)
            else:
                out.append(self._resampled(at, far, rng))
        return np.array(out)

    def _resampled(self, at: Places, far: np.ndarray, rng: np.random.Generator | None) -> float:
        if rng is None:
            raise DeclarationError(
                "key", got="None", expected="a key, to resample", mend="pass key=jax.random.key(0)"
            )
        chosen = rng.choice(np.flatnonzero(far), np.sum(far))
        chosen = np.sort(np.concatenate([np.flatnonzero(~far), chosen]))
        other = ExponentialProcess(self.x[chosen], self.y[chosen], self.length, self.noise_variance)
        return float(other.mean(at)[0] - self.mean(at)[0])

    def gibbs(self, places: Places) -> tuple[Gibbs, AbstractEnergy, Float[Array, "place feature"]]:
        """The same posterior as a Gibbs measure over the innovations of the process.

        The process is Markov: `f(x_{i+1}) = a f(x_i) + √(1 - a²) w_{i+1}`, `a = exp(-gap/ℓ)`, with
        `w ~ N(0, 1)`, so that `f` is linear in `w`. A datum is a pair of `[x, features of x]` and
        `y`.

        Args:
            places: Where the function is to be known, beside the data.

        Returns:
            The measure, its energy `Σ ½ (f - y)²/s²`, and the inputs of the places.
        """
        grid, where = np.unique(np.concatenate([self.x, places]), return_inverse=True)
        keep = np.exp(-np.diff(grid) / self.length)
        features = np.zeros((len(grid), len(grid)))
        features[0, 0] = 1.0
        for i, a in enumerate(keep):
            features[i + 1] = a * features[i]
            features[i + 1, i + 1] = np.sqrt(-np.expm1(2 * np.log(a)))
        inputs = np.concatenate([grid[:, None], features], axis=1)[where]
        model = Function(linear_in_features, jnp.zeros(len(grid)))
        data = Empirical((inputs[: len(self.x)], self.y))
        energy = SquaredError(model, data) / self.noise_variance
        return compile(energy, Normal()), energy, jnp.asarray(inputs[len(self.x) :])


def linear_in_features(w: Float[Array, " feature"], x: Float[Array, " input"]) -> Array:
    """`w · features` of an input `[place, features]`."""
    return jnp.dot(w, x[1:])


@renamed_arguments(noise="noise_variance")
@typed
def exponential_process(
    x: Places, y: Places, *, length: Above, noise_variance: Above
) -> ExponentialProcess:
    """A Gaussian process with kernel `exp(-|r|/ℓ)` and data, in closed form.

    Args:
        x: Places of the data, `[datum]`, in any order.
        y: Labels, `[datum]`.
        length: `ℓ`.
        noise_variance: `s²`, of the labels about the function.

    Raises:
        DeclarationError: For another number of labels than places, and numbers that are not finite.
    """
    for name, values in (("x", x), ("y", y)):
        check_finite(name, values, "leave out data without a number")
    if x.shape != y.shape or not len(x):
        raise DeclarationError(
            "y",
            got=f"labels of shape {y.shape} for places of shape {x.shape}",
            expected="one label for each place",
            mend="pass arrays of one length",
        )
    order = np.argsort(x, kind="stable")
    return ExponentialProcess(
        np.asarray(x, float)[order], np.asarray(y, float)[order], length, noise_variance
    )


@renamed_arguments(noise="noise_variance")
@typed
@final
class PoissonData(eqx.Module):
    """Data at the points of a Poisson process along a line.

    A function of a key that draws the transfer matrix of `(ψ, ψ')` from one datum to the next, and
    the gap; its Lyapunov exponent is `theory.screening_exponent(density, length, noise_variance)`.

    Args:
        density: `ρ`, data per unit length.
        length: `ℓ` of the kernel.
        noise_variance: `s²`.
    """

    density: Positive
    length: Positive
    noise_variance: Positive

    def __call__(self, key: Key) -> tuple[Float[Array, "2 2"], Float[Array, ""]]:
        gap = jax.random.exponential(key, (), float) / self.density
        t = gap / self.length
        cosh, sinh = jnp.cosh(t), jnp.sinh(t)
        free = jnp.array([[cosh, self.length * sinh], [sinh / self.length, cosh]])
        jump = 2 / (self.length * self.noise_variance)
        return jnp.stack([free[0], free[1] + jump * free[0]]), gap

    def process(self, extent: Above, *, key: Key, mean: Finite = 0.0) -> ExponentialProcess:
        """A draw of the data on `[0, extent]`, one at least, with labels of the process.

        `y = mean + f(x) + noise` with `f` of the prior, from place to place as in
        `ExponentialProcess.gibbs`.

        Args:
            extent: Length of the line.
            key: Key of places and labels.
            mean: Mean of the labels.
        """
        rng = numpy_generator(key)
        x = np.sort(rng.uniform(0, extent, max(rng.poisson(extent * self.density), 1)))
        keep = np.exp(-np.diff(x, prepend=-np.inf) / self.length)
        f, steps = np.zeros(len(x)), np.sqrt(1 - keep**2) * rng.normal(size=len(x))
        for i, step in enumerate(steps):
            f[i] = keep[i] * f[i - 1] + step
        y = mean + f + self.noise_variance**0.5 * rng.normal(size=len(x))
        return exponential_process(x, y, length=self.length, noise_variance=self.noise_variance)

    def screened(
        self,
        radii: Places,
        background: Background = "drop",
        *,
        extent: Above,
        draws: Count,
        key: Key,
        mean: Finite = 0.0,
    ) -> Float[np.ndarray, "draw radius"]:
        """`ExponentialProcess.screened` at 0, the end of the line, in draws of the data.

        Equal keys give equal data, whatever the background, and equal ones about any mean.

        Args:
            radii: As there.
            background: As there.
            extent: Length of the line.
            draws: Of the data.
            key: Key of all draws.
            mean: Mean of the labels.
        """
        rows = []
        for own in jax.random.split(key, draws):
            key_data, key_far = jax.random.split(own)
            process = self.process(extent, mean=mean, key=key_data)
            rows.append(process.screened(0.0, radii, background, key=key_far))
        return np.array(rows)


def _slopes(gaps: np.ndarray, jumps: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """`z = ψ'/ψ` before each place, of the solution that grows from minus infinity, and `log ψ`."""
    k = 1 / length
    slopes, logs = np.empty(len(jumps)), np.empty(len(jumps))
    z, log = k, 0.0
    for i in range(len(jumps)):
        slopes[i], logs[i] = z, log
        z += jumps[i]
        if i < len(gaps):
            tanh = np.tanh(k * gaps[i])
            # log(cosh t + z/k sinh t), whose exponentials would overflow
            small = np.exp(-2 * k * gaps[i])
            log += k * gaps[i] + np.log(0.5 * (1 + small + z / k * (1 - small)))
            z = k * (z + k * tanh) / (k + z * tanh)
    return slopes, logs
