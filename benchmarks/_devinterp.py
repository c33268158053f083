"""devinterp 1.3 in PyTorch: on problems of the zoo, on a transformer, and its SGLD of an MLP."""

import functools
import math
import time
import warnings
from itertools import pairwise

import numpy as np
import torch
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class Net(torch.nn.Module):
    """The model of a problem at its w*."""

    def __init__(self, kind: str, powers: tuple[int, ...], weights: dict[str, np.ndarray]):
        super().__init__()
        self.kind, self.powers = kind, powers
        self.names = sorted(weights)
        tensors = [torch.tensor(np.array(weights[name])) for name in self.names]
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(each) for each in tensors])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        named = dict(zip(self.names, self.weights, strict=True))
        if self.kind == "normal-crossing":
            terms = [w**power for w, power in zip(named["weight"], self.powers, strict=True)]
            return torch.stack(terms).prod().expand(len(x))
        if self.kind == "tanh-zero":
            return torch.tanh(x @ named["embedding"].T) @ named["readout"]
        if self.kind == "mixture":
            return torch.logsumexp(-0.5 * (x - named["mean"]) ** 2, dim=1) - math.log(2.0)
        if self.kind == "logistic":
            return x @ named["weight"]
        for name in self.names:
            x = x @ named[name].T
        return x


class Mlp(torch.nn.Sequential):
    """Linear layers with tanh between them."""

    kind = "mlp"

    def __init__(self, widths: tuple[int, ...]):
        layers: list[torch.nn.Module] = []
        for i, o in pairwise(widths):
            layers += [torch.nn.Linear(i, o), torch.nn.Tanh()]
        super().__init__(*layers[:-1])


class Transformer(torch.nn.Module):
    """`bx.models.Transformer` with the same weights, by path."""

    kind = "transformer"

    def __init__(self, weights: dict[str, np.ndarray]):
        super().__init__()
        self.names = sorted(weights)
        tensors = [torch.tensor(np.array(weights[name])) for name in self.names]
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(each) for each in tensors])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = dict(zip(self.names, self.weights, strict=True))
        length, width = x.shape[1], w["embedding"].shape[1]

        def norm(state: torch.Tensor, name: str) -> torch.Tensor:
            return torch.nn.functional.layer_norm(state, (width,), w[f"{name}.scale"], eps=1e-5)

        hidden = w["embedding"][x] + w["positions"][:length]
        for number in range(sum(name.endswith("mlp.up") for name in self.names)):
            block = f"blocks[{number}]"
            state = norm(hidden, f"{block}.before_attention")
            query, key, value = (
                torch.einsum("ntd,hkd->nhtk", state, w[f"{block}.attention.{name}"])
                for name in ("query", "key", "value")
            )
            heads = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=True
            )
            hidden = hidden + torch.einsum("nhtk,hdk->ntd", heads, w[f"{block}.attention.output"])
            state = norm(hidden, f"{block}.before_mlp") @ w[f"{block}.mlp.up"].T
            state = torch.nn.functional.gelu(state, approximate="tanh")
            hidden = hidden + state @ w[f"{block}.mlp.down"].T
        return norm(hidden, "final") @ w["unembedding"].T


def loss(kind: str, model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]):
    """Mean over the batch; ½ of the squared error."""
    x, y = batch
    out = model(x)
    if kind == "transformer":
        return torch.nn.functional.cross_entropy(out.flatten(0, 1), y.flatten())
    if kind == "mixture":
        return -out.mean()
    if kind == "logistic":
        return torch.nn.functional.binary_cross_entropy_with_logits(out, y)
    return 0.5 * (out - y).pow(2).reshape(len(x), -1).sum(1).mean()


class Batches(DataLoader):
    """Minibatches cut from a shuffled tensor at once (the loader's own loop takes longer).

    `fresh` draws x from N(0, 1) with labels 0 each time: the data of a population.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, batch: int, fresh: bool):
        dataset = TensorDataset(torch.tensor(x), torch.tensor(y))
        super().__init__(dataset, batch_size=batch, shuffle=True)
        self.fresh = fresh

    def __iter__(self):
        x, y = self.dataset.tensors
        order = torch.randperm(len(x))
        for part in order.split(self.batch_size):
            yield (torch.randn(len(part), 1, dtype=x.dtype) if self.fresh else x[part]), y[part]


def estimate(model: Net, loader: Batches, *, chains: int, draws: int, burn_in: int, **rest) -> dict:
    """One `run`; `value` is None if a loss became NaN. The error is from the spread of chains."""
    began = time.perf_counter()
    try:
        found = run(model, loader, chains=chains, draws=draws, burn_in=burn_in, **rest)
        value, error = found["llc/mean"], found["llc/std"] / math.sqrt(chains)
    except RuntimeError as complaint:
        if "NaN" not in str(complaint):
            raise
        value = error = math.nan
    finite = math.isfinite(value) and math.isfinite(error)
    return {
        "value": value if finite else None,
        "standard_error": error if finite else None,
        "gradient_evaluations": chains * (draws + burn_in),
        "seconds": time.perf_counter() - began,
    }


def run(
    model: Net | Mlp | Transformer,
    loader: Batches,
    *,
    optimizer: dict[str, float],
    chains: int,
    draws: int,
    burn_in: int,
    init_loss: float | None,
    seed: int,
) -> dict:
    """What devinterp returns; `loss/trace` are the losses of the minibatches, `[chain, draw]`."""
    torch.manual_seed(seed)  # devinterp takes its initial loss from batches before it seeds chains
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimate_learning_coeff_with_summary(
            model,
            loader,
            evaluate=functools.partial(loss, model.kind),
            optimizer_kwargs=dict(optimizer),
            num_chains=chains,
            num_draws=draws,
            num_burnin_steps=burn_in,
            init_loss=init_loss,
            seed=seed,
            verbose=False,
        )


def rate(model: Net, loader: Batches, nbeta: float) -> float:
    """Steps a second."""
    timed = functools.partial(
        estimate, model, loader, chains=1, burn_in=0, init_loss=1.0, seed=0,
        optimizer={"lr": 1e-9, "nbeta": nbeta, "localization": 1.0},
    )  # fmt: skip
    timed(draws=20)
    return 300 / timed(draws=300)["seconds"]
