"""Phases of modular addition in closed form, for a large modulus."""

import math
from dataclasses import dataclass
from typing import final

from ..core import typed
from ..numerics import root
from ._arguments import Above, Modulus, Share


@typed
@final
@dataclass(frozen=True)
class ModularPhases:
    """Phases of the net of `modular_exact` as `P → ∞` at fixed `σ_a P`.

    With `t = |w_k|² = |v_k|²` the action of a Fourier mode is `P (t - U t² + γ t³/3)`, `U = u r²`,
    `r` the residual. It has a second minimum where `U > √γ`, at `t = (U + √(U² - γ))/γ`, which is
    as deep as the one at 0 where `U = U_c = √(4γ/3)`; there `t = Φ_c = √(3/γ)`.

    - "gaussian-process", `s² ≥ s²_I`: all modes of all neurons at 0; `r = 1`.
    - "mixed", `s²_II < s² < s²_I`: both minima are as deep, so `u r² = U_c` and
      `r = s²/s²_I`; the fraction of modes at `Φ_c` is what makes up for the rest of the target,
      `(s²_I - s²)/(s²_I - s²_II)` (lever rule).
    - "features", `s² ≤ s²_II`: all modes at the second minimum, beyond `Φ_c`.

    `σ_a² P²`, `N` and the fraction `α` of the table enter as in `modular_exact`.

    - `onset`: `s²_I = α √(2 σ_a² P²/(N U_c))`.
    - `completion`: `s²_II = s²_I - 4 α σ_a² P² Φ_c²`; not positive if features are never complete.

    Args:
        gamma: `γ`.
        strength: `σ_a² P²`.
        width: `N`.
        fraction: `α`, the share of the table that is seen.
    """

    gamma: float
    strength: float
    """`σ_a² P²`."""
    width: float
    fraction: float

    @property
    def critical_coupling(self) -> float:
        """`U_c = √(4γ/3)`."""
        return math.sqrt(4 * self.gamma / 3)

    @property
    def feature_size(self) -> float:
        """`Φ_c = √(3/γ)`: `|w_k|²` of a specialised mode where both minima are as deep."""
        return math.sqrt(3 / self.gamma)

    @property
    def onset(self) -> float:
        """`s²_I`."""
        return self.fraction * math.sqrt(2 * self.strength / (self.width * self.critical_coupling))

    @property
    def completion(self) -> float:
        """`s²_II`."""
        return self.onset - 4 * self.fraction * self.strength * self.feature_size**2

    def phase(self, noise: Above) -> str:
        """The phase at noise `s²`."""
        if noise >= self.onset:
            return "gaussian-process"
        return "mixed" if noise > self.completion else "features"

    def specialised(self, noise: Above) -> float:
        """Fraction of a neuron's modes at the second minimum."""
        lever = (self.onset - noise) / (self.onset - self.completion)
        return min(max(lever, 0.0), 1.0)

    def residual(self, noise: Above) -> float:
        """`r`: what is left of the target, `y - f = r y`."""
        if noise > self.completion:
            return min(noise / self.onset, 1.0)

        def excess(r: float) -> float:
            return r - self._answer(noise, r)  # antitone: one crossing

        high = noise / self.onset
        return root(excess, 0.0, high) if excess(high) > 0 else high

    def _answer(self, noise: float, r: float) -> float:
        """`s²/(s² + λ)`, all modes at the second minimum (at its edge where there is none)."""
        u = 2 * self.fraction**2 * self.strength / (self.width * noise**2) * r**2
        t = (u + math.sqrt(max(u**2 - self.gamma, 0.0))) / self.gamma
        return noise / (noise + 4 * self.fraction * self.strength * t**2)


@typed
def modular_phases(
    modulus: Modulus,
    *,
    readout_scale: Above,
    gamma: Above = 1.0,
    width: Above = 1.0,
    fraction: Share = 1.0,
) -> ModularPhases:
    """The phases of `modular_exact` with these arguments as closed forms.

    They hold for `P → ∞` at fixed `readout_scale * modulus`; at finite `P` the transition is
    rounded: the second minimum, which is wide, outweighs the first one earlier, at a `U` below
    `U_c` by about `γ/(6P) log(2πP/√(20γ/3))`.

    The phases are those of Rubin, Seroussi & Ringel (2024, ICLR, arXiv:2310.03789); the
    formulas are derived in the documentation ("Modular addition").

    Args:
        readout_scale: `σ_a`.
        fraction: `α`, the share of the table that is seen.

    Raises:
        DeclarationError: An even modulus or one below 3, or numbers not positive.
    """
    return ModularPhases(gamma, (readout_scale * modulus) ** 2, width, fraction)
