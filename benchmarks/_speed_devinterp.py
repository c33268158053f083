"""SGLD of an MLP by devinterp 1.3 in PyTorch, with the fast loader of `_peers_devinterp`."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from _peers_devinterp import Batches
from devinterp.slt.sampler import estimate_learning_coeff


def runner(
    x: np.ndarray, y: np.ndarray, widths: tuple[int, ...], batch: int, chains: int, steps: int
) -> Callable[[], float]:
    """A run of so many chains, each of so many steps, one chain after another as it comes."""
    layers: list[torch.nn.Module] = []
    for i, o in pairwise(widths):
        layers += [torch.nn.Linear(i, o), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    loader = Batches(np.array(x), np.array(y), batch, False)

    def loss(model, data):
        inputs, labels = data
        return 0.5 * (model(inputs)[:, 0] - labels).pow(2).mean()

    def run() -> float:
        return estimate_learning_coeff(
            model,
            loader,
            evaluate=loss,
            optimizer_kwargs={"lr": 1e-9, "nbeta": 1.0, "localization": 1.0},
            num_chains=chains,
            num_draws=steps,
            num_burnin_steps=0,
            init_loss=1.0,
            seed=0,
            verbose=False,
        )

    return run
