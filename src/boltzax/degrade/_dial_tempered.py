"""The tempered posterior as a dial: global, or localised at a trained model."""

import math
from typing import ClassVar, Literal

import equinox as eqx
import numpy as np

from ..compile import Gibbs
from ..core import Count, DeclarationError, NonNegative, Whole, typed
from ..sample import HMC, AbstractKernel, anneal, sample
from ._dial import AbstractDial, only_model

By = Literal["sample", "anneal"]


@typed
class Tempered(AbstractDial):
    """Draws of `p(w) ∝ π(w) exp(-E(w)/T)`. The setting is the temperature T of the summed energy.

    Structure whose usefulness (how much it lowers `E`) is below T times its description length (in
    nats of the prior) is noised away. With `localisation` γ the posterior is held at the trained
    weights by `γ/2 |w - w*|²`, which is part of the prior and not divided by T; as γ grows,
    tempering turns into weight noise of standard deviation `γ^-½`.

    Args:
        kernel: The sampler. One without a Metropolis test is biased by its step: compare its mean
            energy with that of HMC or MALA first.
        localisation: γ; None for the global posterior.
        start: Where chains start: at the model (heating), or at draws of the prior (cooling).
        by: `"sample"` runs each temperature by itself, `"anneal"` lets a ladder from the prior
            exchange draws (all temperatures in one run; `start` has no part in it).
        chains: Independent chains at each temperature.
        warmup: Steps before the first draw.
        thin: Steps between draws.
        throw: Raise if the run failed.
    """

    kernel: AbstractKernel = HMC()
    localisation: NonNegative | None = None
    start: Literal["model", "prior"] = eqx.field(default="model", static=True)
    by: By = eqx.field(default="sample", static=True)
    chains: Count = eqx.field(default=8, static=True)
    warmup: Whole = eqx.field(default=500, static=True)
    thin: Count = eqx.field(default=1, static=True)
    throw: bool = eqx.field(default=True, static=True)
    axes: ClassVar[tuple[str, ...]] = ("temperature",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = True

    def upon(self, bases, settings, *, key, count):
        if np.any(settings <= 0):
            raise DeclarationError(
                "settings",
                got=f"temperature {settings.min():g}",
                expected="temperatures above 0",
                mend="leave 0 out: it is the model itself",
            )
        betas = 1 / settings[:, 0]
        if all(base is bases[0] for base in bases):
            drawn = self._drawn(bases[0], betas, key, count)
            return tuple(drawn[i] for i in range(len(betas)))
        pairs = zip(bases, betas, strict=True)
        return tuple(self._drawn(base, beta, key, count) for base, beta in pairs)

    def _drawn(self, base, betas, key, count):
        model = only_model(base, "Tempered")
        gibbs = base if isinstance(base, Gibbs) else base.gibbs
        if self.localisation is not None:
            gibbs = gibbs.localised(self.localisation, model)
        draws = max(4, math.ceil(count / self.chains))
        settings = {"chains": self.chains, "warmup": self.warmup, "draws": draws}
        settings |= {"thin": self.thin, "key": key, "throw": self.throw}
        if self.by == "anneal":
            ladder = anneal(gibbs, np.atleast_1d(betas), self.kernel, keep=True, **settings)
            return ladder.ensemble if np.ndim(betas) else ladder.ensemble[0]
        start = gibbs.position(model) if self.start == "model" else None
        return sample(gibbs.at(betas), self.kernel, start=start, **settings).ensemble
