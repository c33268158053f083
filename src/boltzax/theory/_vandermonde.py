"""Singularities of Vandermonde type: sums of units that can coincide or vanish."""

from fractions import Fraction

from ..core import Count, Whole, typed
from ._arguments import at_most
from ._learning_coefficient import LearningCoefficient


@typed
def vandermonde(width: Count, step: Count = 1, outputs: Count = 1) -> LearningCoefficient:
    """Coefficient of `Σ_{j≤outputs} Σ_{k≥0} (Σ_{h≤width} a_jh b_h^(1 + step k))²` at the origin.

    With H, Q, M for width, step, outputs and `i` the largest whole number for which
    `2H ≥ M[Q i(i-1) + 2i]`, ::

        value = [M Q i(i+1) + 2H] / [4(1 + iQ)],   multiplicity 2 on equality, else 1.

    Aoyagi 2010, "A Bayesian learning coefficient of generalization error and Vandermonde
    matrix-type singularities", Communications in Statistics: Theory and Methods 39:2667-2687;
    Aoyagi and Nagata 2012, Neural Computation 24:1569-1610. It is the minimum over s of
    `Hs + M Σ_k (½ - (1 + Qk)s)₊`: scale b by n^(-s) at a cost of Hs, and pay one half for each
    mode that n still resolves.

    Raises:
        DeclarationError: If an argument is below 1.
    """
    h, q, m = width, step, outputs
    value, order = _vandermonde(h, q, m)
    return LearningCoefficient(
        value, order, "Vandermonde type, Aoyagi 2010, Commun. Stat. Theory Methods 39:2667"
    )


@typed
def tanh_network(width: Count, true_units: Whole = 0) -> LearningCoefficient:
    """Coefficient of `½ E f²`, `f = Σ_{h≤width} a_h tanh(b_h x) - f*`, one input, no biases.

    `f*` has `true_units` units whose readouts differ from 0 and whose `|b|` are distinct and differ
    from 0. For a true function 0, with `i = ⌊√width⌋`, ::

        value = (width + i² + i)/(4i + 2),   multiplicity 2 if width = i², else 1

    (Aoyagi and Watanabe, "Resolution of singularities and the generalization error with Bayesian
    estimation for layered neural network", IEICE Transactions J88-D-II:2112-2124, 2005; odd
    powers only, so it is `vandermonde(width, step=2)`).

    With r true units, each spare unit sits at b = 0 or on a true unit. Functions that belong to
    different places are linearly independent, so coefficients add over places: g units on one
    true unit give `½ + vandermonde(g, step=1)`, or 1 for g = 1, and g units at zero give
    `vandermonde(g, step=2)` (Aoyagi and Nagata 2012, Neural Computation 24:1569-1610, for each).
    Both grow ever more slowly with g, so all spare units go to one place: the value is ::

        r + min(vandermonde(spare, 2), vandermonde(spare + 1, 1) - ½),

    with the greater multiplicity on a tie. Up to nine spare units join a true one; from nine on
    they go to zero.

    Raises:
        DeclarationError: If `width` is below 1 or `true_units` not between 0 and `width`.
    """
    h, r = width, at_most("true_units", true_units, width, "the width")
    spare = h - r
    options = [(r + Fraction(0), 1)]
    if spare:
        value, order = _vandermonde(spare, 2, 1)
        options = [(r + value, order)]
        if r:
            value, order = _vandermonde(spare + 1, 1, 1)
            options.append((r + value - Fraction(1, 2), order))
    value = min(option[0] for option in options)
    order = max(option[1] for option in options if option[0] == value)
    source = "tanh network, Aoyagi & Watanabe 2005, IEICE J88-D-II:2112"
    if r:
        source = "tanh network, Aoyagi & Nagata 2012, Neural Computation 24:1569"
    return LearningCoefficient(value, order, source)


@typed
def gaussian_mixture(components: Count, true_components: Count) -> LearningCoefficient:
    """Coefficient of a mixture `Σ_h α_h N(x; b_h, σ²)` on the line, weights and locations free.

    The variance is known and the same for all; the truth has `true_components` distinct locations
    with positive weights. With r of them, `g = components - r + 1` and `i` the largest whole
    number with `i² + i ≤ 2g`, ::

        value = r - 1 + (i² + i + 2g)/[4(i + 1)],   multiplicity 2 if i² + i = 2g and g > 1,

    else 1: the weights cost (r-1)/2, r-1 locations (r-1)/2, and the spare components join one
    true one. For `g = 1` the model is regular, `(2r - 1)/2`.

    Aoyagi and Nagata 2012, Neural Computation 24:1569-1610;
    it sharpens the bounds of Yamazaki and Watanabe 2003, "Singularities in mixture models and
    upper bounds of stochastic complexity", Neural Networks 16:1029-1038.

    Raises:
        DeclarationError: If `true_components` is not between 1 and `components`.
    """
    h = components
    r = at_most("true_components", true_components, h, "the number of components")
    value, order = _vandermonde(h - r + 1, 1, 1)
    return LearningCoefficient(
        r - 1 + value,
        order if h > r else 1,
        "normal mixture, Aoyagi & Nagata 2012, Neural Computation 24:1569",
    )


def _vandermonde(h: int, q: int, m: int) -> tuple[Fraction, int]:
    i = 0
    while 2 * h >= m * (q * (i + 1) * i + 2 * (i + 1)):
        i += 1
    order = 2 if i and 2 * h == m * (q * i * (i - 1) + 2 * i) else 1
    return Fraction(m * q * i * (i + 1) + 2 * h, 4 * (1 + i * q)), order
