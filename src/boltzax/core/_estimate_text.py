"""Estimates in words: one line for a number, a few for many."""

from html import escape

import numpy as np

EDGE = 3
"""Entries shown at either end of an axis that is cut."""
MOST = 20
"""Entries up to which all are shown."""


def number_words(value: float, error: float, ess: float, r_hat: float, bounds: tuple | None) -> str:
    """`value ± error (ess, r_hat)`, without the r_hat of independent numbers, which is 1.

    The interval where it says more: of a limit, or of counts.
    """
    if np.isinf(ess) and error == 0:
        return f"{value:.5g} (exact)"
    plain = np.isfinite(error) and (error > 0 or bounds == (value, value))
    if bounds is not None and not plain and np.any(np.isfinite(bounds)):
        low, high = map(float, bounds)
        known = f"{low:.5g} to {high:.5g}" if np.isfinite(low) else f"at most {high:.5g}"
        known = known if np.isfinite(high) else f"at least {low:.5g}"
        return f"{value:.5g} (95%: {known}; ess {ess:.0f})"
    chains = "" if r_hat == 1 else f", r_hat {r_hat:.3f}"
    return f"{value:.5g} ± {error:.2g} (ess {ess:.0f}{chains})"


def shown(count: int, whole: bool) -> list[int | None]:
    """The rows that are shown; None stands for the rows between."""
    if whole or count <= 2 * EDGE + 1:
        return list(range(count))
    return [*range(EDGE), None, *range(count - EDGE, count)]


def html_table(
    shape: tuple[int, ...],
    leaves: tuple,
    bounds: tuple,
    title: str = "Estimate",
    first: list[str] | None = None,
) -> str:
    """A table of estimates for notebooks: place, value ± error, interval, ess, r_hat.

    `first` are the names of places along the first axis, if not 0, 1, 2...
    """
    columns = [np.ravel(numbers) for numbers in (*leaves, *bounds)]
    size = columns[0].size
    lines = [("", "value", "95%", "ess", "r_hat")]
    for i in shown(size, size <= MOST):
        if i is None:
            lines.append(("…",) * 5)
            continue
        value, error, ess, r_hat, low, high = (float(column[i]) for column in columns)
        lead, *rest = (int(k) for k in np.unravel_index(i, shape))
        place = ", ".join(map(str, [lead if first is None else first[lead], *rest]))
        numbers = (f"{value:.5g} ± {error:.2g}", f"{low:.5g} to {high:.5g}")
        lines.append((place, *numbers, f"{ess:.0f}", f"{r_hat:.3f}"))
    rows = "".join(f"<tr>{''.join(f'<td>{x}</td>' for x in line)}</tr>" for line in lines)
    return f"<table><caption>{escape(title)} of shape {shape}</caption>{rows}</table>"
