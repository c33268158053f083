"""Localisation lengths of chains and strips with random energies, against exact ones.

Lloyd's chain (Cauchy energies) is solved at any disorder, also as the sum of the exponents of a
strip; Anderson's (uniform energies) at weak disorder, with an anomaly at the band centre.
"""

from dataclasses import dataclass, replace

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np
import tyro
from _cli import Drawn, save, table

import boltzax as bx
from boltzax import cases, channels, theory


@dataclass
class Options(Drawn):
    """The declaration, and how precise; `quick`: a tenth of the precision."""

    energies: tuple[float, ...] = (0.0, 0.7, 1.5, 2.0, 3.5)  # Of Lloyd's chain
    widths: tuple[float, ...] = (0.3, 1.0, 4.0)  # Half widths of its Cauchy energies
    disorder: float = 1.0  # Width of the uniform energies of Anderson's chain, at energies 0 and 1
    strip: int = 4  # Sites of a slice
    tolerance: float = 3e-4  # Relative error of Lloyd's exponents; ten times that of the others
    chains: int = 2048  # Independent chains
    sites: int = 65536  # Sites of each chain at most


def main(options: Options) -> None:
    """Measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, tolerance=3e-3, chains=256, sites=8192)
    places = [(width, energy) for width in options.widths for energy in options.energies]
    keys = iter(jax.random.split(jax.random.key(options.seed), len(places) + 3))

    def measured(transfer, factor=10.0, **changes):
        given = {"tolerance": factor * options.tolerance, "throw": False, **changes}
        many = {"chains": options.chains, "sites": options.sites, "key": next(keys)}
        return channels.localization_length(transfer, **many, **given)

    found = [measured(cases.lloyd_chain(e, width), 1.0).exponent for width, e in places]
    lloyd = dict(zip(("width", "energy"), np.transpose(places), strict=True))
    lloyd |= compared(found, [theory.lloyd_exponent(e, width) for width, e in places])
    print("Lloyd's chain", table(lloyd), sep="\n")
    weak, disorder = (0.0, 1.0), options.disorder
    lengths = [measured(cases.anderson_chain(e, disorder), warmup=1024).length for e in weak]
    limits = [1 / theory.anderson_exponent(energy, disorder) for energy in weak]
    anderson = {"energy": np.array(weak)} | compared(lengths, limits)
    print("\nAnderson's chain: ξ, and its limit of weak disorder", table(anderson), sep="\n")
    many = measured(cases.lloyd_chain(0.3, 1.0, strip=options.strip), exponents=options.strip)
    modes = 0.3 - 2 * np.cos(np.pi * np.arange(1, options.strip + 1) / (options.strip + 1))
    total = sum(theory.lloyd_exponent(float(energy), 1.0) for energy in modes)
    print(f"\nStrip: sum {float(np.sum(many.exponents.value)):.5f}, exact {total:.5f}\n{many}")
    save({"lloyd": lloyd, "anderson": anderson, "strip": many.exponents}, options.json)
    with bx.plot.panels(path=options.figure) as (ax,):
        fine = np.linspace(min(options.energies), max(options.energies), 200)
        for d in options.widths:
            part = [one for one, (width, _) in zip(found, places, strict=True) if width == d]
            curve, label = bx.Estimate.stack(part), f"d = {d:g}"
            ax.set(xlabel="energy", ylabel="exponent per site")
            bx.plot.estimate(options.energies, curve, ax=ax, label=label)
            ax.plot(fine, [theory.lloyd_exponent(e, d) for e in fine], color="0.4", lw=0.8)


def compared(found: list[bx.Estimate], exact: list[float]) -> dict[str, np.ndarray]:
    """Exact and measured values, errors, relative deviations and z-scores."""
    stack, exact = bx.Estimate.stack(found), np.array(exact)
    columns = {"exact": exact, "measured": stack.value, "±": stack.standard_error}
    return columns | {"relative error": stack.value / exact - 1, "z": stack.z_score(exact)}


if __name__ == "__main__":
    main(tyro.cli(Options))
