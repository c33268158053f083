"""Handwritten digits with planted wrong labels: which dial forgets them first.

Nets know their data by heart, a share of them with wrong labels. They are degraded by six dials,
and of each the survival of the wrong labels is read where that of the right ones has fallen to a
level, since settings of different dials have no common unit. The dial with the lowest value is the
most selective one. `mislabelled.py` finds the wrong labels by this.
"""

from dataclasses import dataclass

import numpy as np
import tyro
from _cli import save
from _digits import Digits, along_dials, learned

import boltzax as bx
from boltzax import degrade


@dataclass
class Options(Digits):
    """Nets and dials; `quick`: fewer data, units, nets and draws."""

    level: float = 0.9  # Survival of the right labels at which dials are compared


def main(options: Options) -> None:
    """Train, degrade, compare over nets, print, write what was asked for."""
    options = options.sized()

    def survivals(number):
        """Of one net by dial: what is left of the right labels, and of the wrong ones."""
        net, pairs = learned(options, number), {}
        for name, curve in along_dials(net, options).items():
            alive = np.asarray(curve.value)
            pairs[name] = tuple(
                bx.Curve(curve.x, bx.Estimate.exact(alive[:, which].mean(axis=1)), axis=curve.axis)
                for which in (~net.wrong, net.wrong)
            )
        print(f"net {number} done", flush=True)
        return pairs

    pairs = bx.replicated(survivals, range(options.nets))
    matched = {name: degrade.selectivity(*pair, options.level) for name, pair in pairs.items()}
    print(f"survival of wrong labels where that of right ones is {options.level:g}")
    for name, estimate in matched.items():
        print(f"{name:>18}: {estimate!r}")
    save({"wrong_at_matched_right": matched, "survivals": pairs}, options.json)
    with bx.plot.panels(path=options.figure) as axes:
        bx.plot.selectivity(pairs, ax=axes[0], at=options.level)
        axes[0].set(xlabel="survival of right labels", ylabel="survival of wrong labels")


if __name__ == "__main__":
    main(tyro.cli(Options))
