"""What defines a problem of the zoo: its parameters, its true weights and its data, in NumPy."""

import functools
import itertools
import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

PARAMETERS = {
    "normal-crossing": ("powers",),
    "quadratic": ("dim",),
    "reduced-rank": ("widths", "rank"),
    "deep-linear": ("widths", "rank"),
    "tanh-zero": ("width",),
    "mixture": (),
    "logistic": ("dim",),
}
"""The parameters that each kind reads; all others are ignored."""


@dataclass(frozen=True)
class Setting:
    """`p(w) ∝ exp(-nβ L(w) - γ/2 |w - w*|²)` at β = 1/log n, with γ the `localisation`.

    `noise` 0 is the population with exact labels; else n data, and labels with noise of that
    standard deviation. Logistic labels are always data, and a mixture has no labels: there any
    `noise` above 0 means n data.
    """

    kind: str
    powers: tuple[int, ...]
    dim: int
    widths: tuple[int, ...]
    rank: int
    width: int
    n: int
    noise: float
    seed: int
    localisation: float

    def __post_init__(self):
        if self.kind not in PARAMETERS:
            raise ValueError(f"kind {self.kind!r}: expected one of {', '.join(PARAMETERS)}")
        if self.kind == "reduced-rank" and len(self.widths) != 3:
            raise ValueError(f"widths {self.widths}: reduced-rank has three, M H N")
        if self.kind in ("reduced-rank", "deep-linear") and self.rank > min(self.widths):
            raise ValueError(f"rank {self.rank} is above the least of the widths {self.widths}")
        if self.n < 2 or self.noise < 0 or self.localisation <= 0:
            raise ValueError("n is at least 2, noise at least 0, localisation above 0")

    @property
    def nbeta(self) -> float:
        """nβ = n/log n."""
        return self.n / math.log(self.n)

    @property
    def sampled(self) -> bool:
        """Whether there are n data rather than a population."""
        return self.noise > 0 or self.kind == "logistic"

    @property
    def name(self) -> str:
        """E.g. `reduced-rank 5-3-5 rank 0, noise 1`."""
        own = {
            "normal-crossing": " " + "-".join(map(str, self.powers)),
            "quadratic": f" {self.dim}",
            "logistic": f" {self.dim}",
            "tanh-zero": f" {self.width}",
            "mixture": "",
        }
        linear = f" {'-'.join(map(str, self.widths))} rank {self.rank}"
        return f"{self.kind}{own.get(self.kind, linear)}, noise {self.noise:g}"

    @property
    def key(self) -> str:
        """One line for all that the exact value depends on."""
        parts = [self.kind]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in PARAMETERS[self.kind]:
                shown = "-".join(map(str, value)) if isinstance(value, tuple) else value
                parts.append(f"{field.name} {shown}")
        parts += [f"n {self.n}", f"localisation {self.localisation:g}"]
        if self.kind != "logistic":
            parts.append(f"noise {self.noise:g}")
        return ", ".join(parts + ([f"seed {self.seed}"] if self.sampled else []))


def balanced(widths: tuple[int, ...], rank: int) -> list[Values]:
    """True layers `Q_{l+1} Q_lᵀ`, each Q_l with `rank` orthonormal columns, always the same.

    Their product has `rank` singular values 1, all shared equally by the layers.
    """
    rng = np.random.default_rng(2005)
    frames = [np.linalg.qr(rng.standard_normal((width, width)))[0][:, :rank] for width in widths]
    return [after @ before.T for before, after in itertools.pairwise(frames)]


def product(layers: list[Values]) -> Values:
    """`W_L ... W_1`."""
    return functools.reduce(lambda below, layer: layer @ below, layers)


@functools.lru_cache(maxsize=4)
def draw(setting: Setting) -> tuple[Values, Values]:
    """The n data `(x, y)`, with the leading axis over data; the seed fixes them.

    `y` is `[n]` for scalar models. The polynomial does not look at its `x`; a mixture has x alone.
    """
    rng = np.random.default_rng(setting.seed)
    n, noise = setting.n, setting.noise
    if setting.kind == "normal-crossing":
        return np.zeros((n, 1)), noise * rng.standard_normal(n)
    if setting.kind == "mixture":
        return rng.standard_normal((n, 1)), np.zeros(n)
    if setting.kind == "logistic":
        x = rng.standard_normal((n, setting.dim))
        x[:, 0] = 1.0
        logits = x @ np.linspace(0.5, -1.0, setting.dim)
        return x, (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float)
    if setting.kind == "tanh-zero":
        return rng.standard_normal((n, 1)), noise * rng.standard_normal(n)
    if setting.kind == "quadratic":
        return rng.standard_normal((n, setting.dim)), noise * rng.standard_normal((n, 1))
    x = rng.standard_normal((n, setting.widths[0]))
    truth = product(balanced(setting.widths, setting.rank))
    return x, x @ truth.T + noise * rng.standard_normal((n, setting.widths[-1]))


def logistic_fit(x: Values, y: Values) -> Values:
    """The maximum-likelihood weights of a logistic regression, by Newton's method."""
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(x @ weights)))
        step = np.linalg.solve((x.T * (chance * (1 - chance))) @ x, x.T @ (chance - y))
        weights = weights - step
        if np.max(np.abs(step)) < 1e-13:
            return weights
    raise RuntimeError("logistic regression: the two classes can be separated, or nearly so")
