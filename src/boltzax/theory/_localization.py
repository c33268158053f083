"""Exact decay rates in one dimension: chains with disorder, and data that screen each other."""

import math
from typing import Annotated, Literal, TypeAlias

from ..core import DeclarationError, renamed_arguments, scalar, typed
from ._arguments import Above
from ._jump_relaxation import mean_of_jumps

Finite: TypeAlias = Annotated[float, scalar(open_low=True)]
MOST_JUMPS = 1000
"""Jumps in the mean of a slope: of smaller ones there are too many to sum."""


@typed
def lloyd_exponent(energy: Finite, width: Above) -> float:
    """Lyapunov exponent of the Lloyd model, at any energy and disorder.

    For `ψ_{n+1} + ψ_{n-1} + ε_n ψ_n = E ψ_n` with Cauchy energies `ε_n` of half width `d`, ::

        4 cosh γ = √((2 + E)² + d²) + √((2 - E)² + d²)

    per site. It is computed as `sinh² γ = u`, the positive root of
    `u² + (1 - (E² + d²)/4) u = d²/4`, to relative precision also where `γ` is small.

    Thouless 1972, J. Phys. C 5:77; Ishii 1973, Prog. Theor. Phys. Suppl. 53:77.

    Args:
        energy: `E`.
        width: `d`.
    """
    half_energy, half_width = 0.5 * energy, 0.5 * width
    scale = max(1.0, abs(half_energy), half_width)  # squares of large numbers overflow
    one, e, d = 1 / scale, half_energy / scale, half_width / scale
    b = one**2 - e**2 - d**2
    root = math.hypot(b, 2 * one * d)
    u = 2 * (one * d) ** 2 / (b + root) if b > 0 else 0.5 * (root - b)
    return math.asinh(scale * math.sqrt(u))


@typed
def anderson_exponent(energy: Finite, disorder: Above) -> float:
    """Lyapunov exponent of the Anderson model at weak disorder, to leading order.

    For `ψ_{n+1} + ψ_{n-1} + ε_n ψ_n = E ψ_n` with `ε_n` uniform on `[-W/2, W/2]`, of variance
    `σ² = W²/12`, per site: ::

        inside the band      γ = W²/(24 (4 - E²))
        at E = 0             γ = σ² (Γ(3/4)/Γ(1/4))²,  so that W²/γ = 105.045
        at |E| = 2           γ = σ^(2/3) 6^(1/3) √π/(2 Γ(1/6)) = 0.2893 σ^(2/3)

    The three are limits `W → 0` at fixed energy. Energies of order `W²` about 0, and of order
    `W^(4/3)` about ±2, lie between them.

    Thouless 1979, in Ill-Condensed Matter; Kappus & Wegner 1981, Z. Phys. B 45:15; Derrida &
    Gardner 1984, J. Physique 45:1283.

    Args:
        energy: `E`, from -2 to 2.
        disorder: `W`.

    Raises:
        DeclarationError: For energies outside the band.
    """
    if abs(energy) > 2:
        raise DeclarationError(
            "energy",
            got=f"{energy:g}",
            expected="an energy from -2 to 2, inside the band",
            mend="outside the band it is arccosh(|E|/2) without disorder",
        )
    variance = disorder**2 / 12
    if energy == 0:
        return variance * (math.gamma(0.75) / math.gamma(0.25)) ** 2
    if abs(energy) == 2:
        return variance ** (1 / 3) * 6 ** (1 / 3) * math.pi**0.5 / (2 * math.gamma(1 / 6))
    return variance / (2 * (2 - energy) * (2 + energy))


@renamed_arguments(noise="noise_variance")
@typed
def averaged_screening(density: Above, length: Above, noise_variance: Above) -> float:
    """`κ = √(1/ℓ² + 2ρ/(ℓ s²))`: the rate at which data of uniform density screen each other.

    A Gaussian process with kernel `exp(-|r|/ℓ)` and data of noise `s²` at places `x_i` has as its
    posterior covariance `2/ℓ` times the Green's function of
    `-d²/dx² + 1/ℓ² + (2/(ℓ s²)) Σ_i δ(x - x_i)`. In the averaged field the sum is the density `ρ`.

    Args:
        density: `ρ`, data per unit length.
        length: `ℓ`.
        noise_variance: `s²`.
    """
    return math.sqrt(1 + 2 * density * length / noise_variance) / length


@renamed_arguments(noise="noise_variance")
@typed
def screening_exponent(
    density: Above,
    length: Above,
    noise_variance: Above,
    arrangement: Literal["poisson", "lattice"] = "poisson",
) -> float:
    """The rate `γ` at which the posterior covariance of a Gaussian process decays, per unit length.

    For kernel `exp(-|r|/ℓ)` and data of noise `s²` at the points of a Poisson process of density
    `ρ`, or at equal distances `1/ρ`. It is the Lyapunov exponent of the equation of
    `averaged_screening`. The slope `z = ψ'/ψ` obeys `z' = 1/ℓ² - z²` between data and jumps up by
    `v = 2/(ℓ s²)` at a datum, and `γ = ⟨z⟩`. Since `⟨z²⟩ = 1/ℓ² + ρ v = κ²`, ::

        1/ℓ <= γ <= κ,        κ² - γ² = Var z.

    On a lattice `cosh(γ/ρ) = cosh(1/(ρℓ)) + sinh(1/(ρℓ))/s²` (Kronig & Penney). For a Poisson
    process the distribution `N` of `z` solves `(z² - 1/ℓ²) N'(z) = ρ (N(z) - N(z - v))` (Frisch &
    Lloyd 1960, Phys. Rev. 120:1175), here to a relative accuracy of 1e-9 (1e-6 for noise below
    1e-3). For `ρ, ℓ, s² = 20, 1, 1`: `γ = 6.162`, `κ = 6.403`; for `5, 1, 0.01`: `16.485` and
    `31.639`.

    Args:
        density: `ρ`, data per unit length.
        length: `ℓ`.
        noise_variance: `s²`.
        arrangement: Of the data.

    Raises:
        DeclarationError: For a Poisson process of data so weak that each changes the slope by less
            than a thousandth.
    """
    if arrangement == "poisson":
        mean = math.sqrt(1 + 2 * density * length / noise_variance)
        if 0.5 * mean * noise_variance > MOST_JUMPS:
            raise DeclarationError(
                "noise_variance",
                got=f"{noise_variance:g} at {density * length:g} data a length",
                expected=f"jumps of the slope above 1/{MOST_JUMPS} of its mean",
                mend="take averaged_screening, which is larger by a share below "
                f"{1 / MOST_JUMPS:g}",
            )
        return mean_of_jumps(density * length, 2 / noise_variance) / length
    gap = 1 / (density * length)
    if gap > 40:  # cosh and sinh are one to rounding
        return (gap + math.log1p(1 / noise_variance)) * density
    # cosh g - 1 = 2 sinh²(g/2) on both sides: small gaps keep their digits
    half = math.sinh(0.5 * gap)
    u = half * (half + math.cosh(0.5 * gap) / noise_variance)
    return 2 * math.asinh(math.sqrt(u)) * density
