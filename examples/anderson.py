"""Localisation lengths of chains and strips with random energies, against exact ones.

Lloyd's chain (Cauchy energies) is solved at any energy and disorder; Anderson's (uniform energies)
at weak disorder, with an anomaly at the band centre. On strips of Lloyd's model the sum of the
positive exponents is known.
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
    """The declaration, and how precise.

    Quick: a tenth of the precision.
    """

    energies: tuple[float, ...] = (0.0, 0.7, 1.5, 2.0, 3.5)
    """Energies of Lloyd's chain; those of Anderson's are 0 and 1."""
    widths: tuple[float, ...] = (0.3, 1.0, 4.0)
    """Half widths of the Cauchy energies."""
    disorder: float = 1.0
    """Width of the uniform energies."""
    strip: int = 4
    """Sites of a slice."""
    tolerance: float = 3e-4
    """Relative error of Lloyd's exponents; of the others ten times as much."""
    chains: int = 2048
    """Independent chains."""
    sites: int = 65536
    """Sites of each chain at most."""


def main(options: Options) -> None:
    """Measure, print, write what was asked for."""
    if options.quick:
        options = replace(options, tolerance=3e-3, chains=256, sites=8192)
    count = len(options.energies) * len(options.widths) + 3
    keys, tolerance = iter(jax.random.split(jax.random.key(options.seed), count)), options.tolerance
    given = {"chains": options.chains, "sites": options.sites, "throw": False}
    rows, found = [], []
    for width in options.widths:
        for energy in options.energies:
            chain, exact = cases.lloyd_chain(energy, width), theory.lloyd_exponent(energy, width)
            one = channels.localization_length(chain, key=next(keys), tolerance=tolerance, **given)
            rows.append([width, energy, exact, *numbers(one.exponent, exact)])
            found.append(one.exponent)
    columns = ("width", "energy", "exact", "measured", "±", "relative error", "z")
    print("Lloyd's chain\n" + table(dict(zip(columns, np.transpose(rows), strict=True))))
    weak = []
    for energy in (0.0, 1.0):
        chain = cases.anderson_chain(energy, options.disorder)
        exact = theory.anderson_exponent(energy, options.disorder)
        one = channels.localization_length(
            chain, key=next(keys), tolerance=10 * tolerance, warmup=1024, **given
        )
        scale = options.disorder**2
        weak.append([energy, scale / exact, *numbers(one.length.scaled(scale), scale / exact)])
    columns = ("energy", "ξW², weak", "measured", "±", "relative error", "z")
    print("\nAnderson's chain\n" + table(dict(zip(columns, np.transpose(weak), strict=True))))
    strip = cases.lloyd_chain(0.3, 1.0, strip=options.strip)
    many = channels.localization_length(
        strip, key=next(keys), exponents=options.strip, tolerance=10 * tolerance, **given
    )
    modes = 0.3 - 2 * np.cos(np.pi * np.arange(1, options.strip + 1) / (options.strip + 1))
    total = sum(theory.lloyd_exponent(float(energy), 1.0) for energy in modes)
    print(f"\nStrip: sum {float(np.sum(many.exponents.value)):.5f}, exact {total:.5f}\n{many}")
    save({"lloyd": rows, "anderson": weak, "strip": many.exponents}, options.json)
    if options.figure is not None:
        ax = None
        for i, width in enumerate(options.widths):
            part = found[i * len(options.energies) : (i + 1) * len(options.energies)]
            label = f"d = {width:g}, 95% band"
            style = {"ax": ax, "label": label, "color": f"C{i}"}
            ax = bx.plot.estimate(options.energies, bx.Estimate.stack(part), **style)
            fine = np.linspace(min(options.energies), max(options.energies), 200)
            ax.plot(fine, [theory.lloyd_exponent(e, width) for e in fine], color="0.4", lw=0.8)
        ax.set(xlabel="energy", ylabel="exponent per site")
        ax.legend(frameon=False)
        ax.figure.savefig(options.figure, dpi=160)


def numbers(found: bx.Estimate, exact: float) -> list[float]:
    """Value, error, relative deviation and z-score."""
    value = float(found.value)
    return [value, float(found.standard_error), value / exact - 1, float(found.z_score(exact))]


if __name__ == "__main__":
    main(tyro.cli(Options))
