"""Wrong labels among handwritten digits, found by a net that knows them all by heart.

Three ways to find labels that are wrong, without knowledge of which they are: how early each label
dies along a dial that degrades the net, its Bayesian influence on itself and on held-out data, and
the loss of the net (the baseline). Each is scored by the area under its ROC curve (AUC), over
several nets. `digits.py` asks which dial forgets wrong labels first.
"""

from dataclasses import dataclass

import numpy as np
import tyro
from _cli import save
from _digits import Digits, along_dials, learned
from sklearn.metrics import roc_auc_score

import boltzax as bx


@dataclass
class Options(Digits):
    """Nets, dials and draws; `quick`: fewer data, units, nets and draws."""

    temperature: float = 1.0  # Of the posterior from which influences are taken


def main(options: Options) -> None:
    """Train, degrade, sample, compare over nets, print, write what was asked for."""
    options = options.sized()

    def areas(number):
        """Of one net the AUC of each method, and how much it is above that of the loss."""
        net = learned(options, number)
        scores = {"loss of the net": -np.log(net.survival(net.energy.model))}
        for name, curve in along_dials(net, options).items():
            # the mean over evenly spaced settings is where on the dial the label dies, on average
            scores[f"death by {name}"] = -np.asarray(curve.value).mean(axis=0)
        gibbs = net.gibbs.localised(options.localisation).at(1 / options.temperature)
        trace = bx.sample(
            gibbs, bx.HMC(), key=net.keys[2], chains=4, warmup=options.warmup,
            draws=options.count, start=net.gibbs.position(net.energy.model), throw=False,
        )  # fmt: skip
        scores["influence on itself"] = -np.diag(bx.influence(trace, net.energy).value)
        on_held_out = bx.influence(trace, net.energy, net.held_out.value)
        scores["influence on held-out loss"] = on_held_out.value
        print(f"net {number}: {bx.Status[trace.status]}", flush=True)
        area = {name: roc_auc_score(net.wrong, score) for name, score in scores.items()}
        lead = {name: each - area["loss of the net"] for name, each in area.items()}
        del lead["loss of the net"]  # 0: the baseline
        return {"auc": area, "lead": lead}

    found = bx.replicated(areas, range(options.nets))
    print("AUC for wrong labels, and its lead over the loss of the net (95% intervals over nets)")
    auc = dict(sorted(found["auc"].items(), key=lambda item: -item[1].value))
    for name, area in auc.items():
        ends = found["lead"][name].interval() if name in found["lead"] else ()
        print(
            f"{name:>27}: {area!r}", *([f"lead {ends[0]:+.4f} to {ends[1]:+.4f}"] if ends else [])
        )
    intervals = {name: area.interval() for name, area in auc.items()}
    save(found | {"auc_interval": intervals}, options.json)
    with bx.plot.panels(path=options.figure) as axes:
        bx.plot.intervals(auc, ax=axes[0], label="95% interval over nets")
        axes[0].set(xlabel="AUC for wrong labels")


if __name__ == "__main__":
    main(tyro.cli(Options))
