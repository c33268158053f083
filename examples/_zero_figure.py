"""The figure of the learning-zero curve, with everything that theory says of it."""

import numpy as np

import boltzax as bx


def draw(options, log_n: np.ndarray, curve: bx.Estimate, phases: dict[str, dict]) -> None:
    """The curve, and those of its phases, with their bound, ansatz, limit and turn."""
    tanh = options.activation == "tanh"
    limit = bx.theory.tanh_network(options.width) if tanh else None
    bound = modes(options) if tanh and options.embedding_prior == "uniform" else None
    lines = {"bound": bound, "ansatz": True, "limit": limit, "plateau": options.width / 2}
    with bx.plot.panels(path=options.figure, height=4.6) as (ax,):
        bx.plot.learning_coefficient(curve, log_n=log_n, ax=ax, mark_turn=True, **lines)
        for style, (name, phase) in zip(("C4v", "C5^"), phases.items(), strict=False):
            value, error = phase["learning_coefficient"], phase["standard_error"]
            label = {"label": f"phase: {name}, 95% interval", "lw": 1, "fmt": f"{style}-"}
            ax.errorbar(phase["log_n"], value, 1.96 * np.asarray(error), zorder=0, **label)
        ax.legend()
        ax.set_title(f"Learning zero, H = {options.width}", loc="left")


def modes(options, count: int = 300) -> np.ndarray:
    """`log E c_k²` of the prior's nets, by the exact Hermite coefficients of a unit."""
    b = options.embedding_scale * (np.arange(4) + 0.5) / 4
    orders = np.arange(1, 2 * count, 2)
    logs = np.array([bx.theory.tanh_hermite_log_magnitude(orders, scale) for scale in b])
    return np.logaddexp.reduce(2 * logs, axis=0) + np.log(options.width / len(b))
