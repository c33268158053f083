"""Exact λ̂ of linear nets: a Gibbs sampler on sufficient statistics, every move exact.

With `P = W_L ... W_1`, `D = P - P*`, S the second moment of x and `G = (1/n) Σ (y - P*x) xᵀ`,

    L(w) - L(w*) = ½ tr D S Dᵀ - tr D Gᵀ.

**Layers.** `P = A W B` is linear in one layer W, so W given the others is normal. In the
eigenbases of `AᵀA = UaUᵀ` and `B S Bᵀ = VbVᵀ` its entries are independent, of precision
`nβ a_i b_j + γ`, and their mean loss is known in closed form: it is what is averaged (Rao and
Blackwell).

**Gauge.** `W_l → g W_l, W_{l+1} → W_{l+1} g⁻¹` leaves P alone, and layer moves diffuse along it in
steps of (nβ)^(-½). For `g = 1 + T`, T from one half of the hidden units to the other, the rest of
the exponent is quadratic in T, and T is drawn exactly; random halves reach all of SL(H). Scales
and signs of single hidden units, which reach the rest of GL(H), are moved by Metropolis steps with
Jacobian `e^{t (in - out)}`.
"""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from _setting import Setting, Values, balanced, draw, product

import boltzax as bx


def linear_gibbs(setting: Setting, precision: float = 5e-4) -> tuple[float, float, str]:
    """Rounds of 500 sweeps, 2 to 40, until the standard error is `precision` of the value.

    Nets of more than 1e5 weights, whose loss hardly fluctuates, have rounds of 50 and two chains.
    """
    truth = balanced(setting.widths, setting.rank)
    target = product(truth)
    second, noise = np.eye(setting.widths[0]), np.zeros(target.shape)
    if setting.sampled:
        x, y = draw(setting)
        second, noise = x.T @ x / setting.n, (y - x @ target.T).T @ x / setting.n
    large = sum(a * b for a, b in pairwise(setting.widths)) > 100_000
    chains = 2 if large else 32 if max(setting.widths) <= 10 else 8
    rounds, mixed = (50, 1.1) if large else (500, 1.01)
    net = Net(truth, second, noise, setting.nbeta, setting.localisation, chains)
    for _ in range(50 if large else 200):
        net.sweep()
    energies = np.empty((chains, 0))
    for count in range(1, 41):
        fresh = [net.sweep() for _ in range(rounds)]
        energies = np.concatenate([energies, np.stack(fresh, axis=1)], axis=1)
        estimate = bx.mean_estimate(jnp.asarray(energies, float))
        done = estimate.standard_error < precision * abs(estimate.value)
        if count > 1 and done and estimate.r_hat < mixed:
            break
    draws = f"{chains}x{energies.shape[1]} draws, r_hat {float(estimate.r_hat):.3f}"
    return estimate.value, estimate.standard_error, f"Gibbs on sufficient statistics, {draws}"


class Net:
    """Chains of linear nets, `layers[l]` of shape `[chain, out, in]`."""

    def __init__(
        self,
        truth: list[Values],
        second: Values,
        noise: Values,
        nbeta: float,
        localisation: float,
        chains: int,
        seed: int = 0,
    ):
        self.truth, self.second, self.noise = truth, second, noise
        self.target = product(truth)
        self.nbeta, self.localisation = nbeta, localisation
        self.rng = np.random.default_rng(seed)
        self.layers = [np.repeat(w[None], chains, axis=0) for w in truth]

    def sweep(self) -> Values:
        """All layers, each with the gauge above it; the mean over layers of nβ(⟨L⟩ - L(w*))."""
        energies = []
        for index in range(len(self.layers)):
            energies.append(self.layer(index))
            if index + 1 < len(self.layers):
                self.shear(index)
                self.scale(index)
        return np.mean(energies, axis=0)

    def layer(self, index: int) -> Values:
        """Draw one layer given the others; nβ times its mean excess loss given the others."""
        chains = len(self.layers[0])
        ends = self.target.shape
        above = np.repeat(np.eye(ends[0])[None], chains, axis=0)
        for weight in reversed(self.layers[index + 1 :]):
            above = above @ weight
        below = np.repeat(np.eye(ends[1])[None], chains, axis=0)
        for weight in self.layers[:index]:
            below = weight @ below
        a, u = np.linalg.eigh(_t(above) @ above)
        b, v = np.linalg.eigh(below @ self.second @ _t(below))
        curve = np.maximum(a, 0.0)[:, :, None] * np.maximum(b, 0.0)[:, None, :]
        pull = _t(above) @ (self.target @ self.second + self.noise) @ _t(below)
        force = self.nbeta * pull + self.localisation * self.truth[index]
        spread = 1 / (self.nbeta * curve + self.localisation)
        mean = (_t(u) @ force @ v) * spread
        drawn = mean + np.sqrt(spread) * self.rng.standard_normal(mean.shape)
        self.layers[index] = u @ drawn @ _t(v)
        gap = above @ (u @ mean @ _t(v)) @ below - self.target
        loss = np.sum(gap * (0.5 * gap @ self.second - self.noise), axis=(1, 2))
        return self.nbeta * (loss + 0.5 * np.sum(curve * spread, axis=(1, 2)))

    def shear(self, index: int) -> None:
        """`x_I += T x_J`, `y_J -= y_I T`: hidden units I, J, rows x below, columns y above."""
        x, y = self.layers[index], self.layers[index + 1]
        hidden = x.shape[1]
        if hidden == 1:
            return
        order = self.rng.permutation(hidden)
        i, j = order[: hidden // 2], order[hidden // 2 :]
        off_x, off_y = x[:, i] - self.truth[index][i], y[:, :, j] - self.truth[index + 1][:, j]
        force = _t(y[:, :, i]) @ off_y - off_x @ _t(x[:, j])
        a, u = np.linalg.eigh(_t(y[:, :, i]) @ y[:, :, i])
        b, v = np.linalg.eigh(x[:, j] @ _t(x[:, j]))
        precision = np.maximum(a, 0.0)[:, :, None] + np.maximum(b, 0.0)[:, None, :]
        # where both are 0, T changes no weight
        inverse = np.where(precision > 1e-12, 1 / np.maximum(precision, 1e-12), 0.0)
        drawn = inverse * (_t(u) @ force @ v)
        drawn += np.sqrt(inverse / self.localisation) * self.rng.standard_normal(drawn.shape)
        shift = u @ drawn @ _t(v)
        self.layers[index], self.layers[index + 1] = x.copy(), y.copy()
        self.layers[index][:, i] += shift @ x[:, j]
        self.layers[index + 1][:, :, j] -= y[:, :, i] @ shift

    def scale(self, index: int) -> None:
        """`x_i *= ±e^t`, `y_i *= ±e^{-t}`, each hidden unit accepted or not by itself."""
        x, y = self.layers[index], self.layers[index + 1]
        t = 0.5 * self.rng.standard_normal(x.shape[:2])
        factor = np.where(self.rng.random(t.shape) < 0.5, 1.0, -1.0) * np.exp(t)
        new_x, new_y = factor[:, :, None] * x, y / factor[:, None, :]
        lower, upper = self.truth[index], self.truth[index + 1]
        change = np.sum((new_x - lower) ** 2 - (x - lower) ** 2, axis=2)
        change += np.sum((new_y - upper) ** 2 - (y - upper) ** 2, axis=1)
        log_ratio = -0.5 * self.localisation * change + t * (x.shape[2] - y.shape[1])
        keep = np.log(self.rng.random(t.shape)) < log_ratio
        self.layers[index] = np.where(keep[:, :, None], new_x, x)
        self.layers[index + 1] = np.where(keep[:, None, :], new_y, y)


def _t(matrix: Values) -> Values:
    return np.swapaxes(matrix, -1, -2)
