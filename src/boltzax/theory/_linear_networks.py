"""Products of matrices: reduced rank regression, deep linear nets, semidefinite factorisation."""

from collections.abc import Sequence
from fractions import Fraction

from ..core import Count, DeclarationError, Whole, typed
from ._arguments import at_most
from ._learning_coefficient import LearningCoefficient


@typed
def reduced_rank(inputs: Count, hidden: Count, outputs: Count, rank: Whole) -> LearningCoefficient:
    """Coefficient of `½ E|BAx - B*A*x|²`, A `hidden x inputs`, B `outputs x hidden`.

    `rank` is that of the true map `B*A*`; the covariance of x is of full rank. With M, H, N, r
    for inputs, hidden, outputs, rank:

    - M+r ≤ N+H, N+r ≤ M+H and H+r ≤ M+N, M+H+N+r even: multiplicity 1,
      `[-(H+r)² - M² - N² + 2(H+r)M + 2(H+r)N + 2MN]/8`;
    - the same three, M+H+N+r odd: 1/8 more, multiplicity 2;
    - M+H < N+r: `[HM - Hr + Nr]/2`; N+H < M+r: `[HN - Hr + Mr]/2`; M+N < H+r: `MN/2`.

    Aoyagi and Watanabe 2005, "Stochastic complexities of reduced rank regression in Bayesian
    estimation", Neural Networks 18:924-933, main theorem.

    Raises:
        DeclarationError: If a width is below 1 or `rank` exceeds one of them.
    """
    m, h, n = inputs, hidden, outputs
    r = at_most("rank", rank, min(m, h, n), "the least width")
    order = 1
    if m + h < n + r:
        value = Fraction(h * m - h * r + n * r, 2)
    elif n + h < m + r:
        value = Fraction(h * n - h * r + m * r, 2)
    elif m + n < h + r:
        value = Fraction(m * n, 2)
    else:
        s = h + r
        odd = (m + n + s) % 2
        value = Fraction(odd - s * s - m * m - n * n + 2 * (s * m + s * n + m * n), 8)
        order += odd
    return LearningCoefficient(
        value, order, "reduced rank regression, Aoyagi & Watanabe 2005, Neural Networks 18:924"
    )


@typed
def deep_linear(widths: Sequence[Count], rank: Whole) -> LearningCoefficient:
    """Coefficient of `½ E|W_L ... W_1 x - W* x|²`, `W_i` of shape `widths[i] x widths[i-1]`.

    `rank` is that of the true map `W*`; the covariance of x is of full rank. Let Δ be the numbers
    `width - rank` in rising order, and ℓ the largest number of layers for which the sum S of the
    ℓ+1 least Δ is at least ℓ times the greatest among them (the set is then unique up to ties).
    With `a = S - (⌈S/ℓ⌉ - 1) ℓ`, r the rank, H_0 and H_L the outer widths, ::

        value = [r(H_0 + H_L) - r²]/2 + a(ℓ - a)/(4ℓ) - (ℓ - 1)S²/(4ℓ) + ½ Σ_{i<j} Δ_i Δ_j,

    the last sum over the set, and the multiplicity is `a(ℓ - a) + 1`. For one hidden layer it is
    `reduced_rank`; for a single matrix `regular`.

    Aoyagi 2024, "Consideration on the learning efficiency of multiple-layered neural networks
    with linear units", Neural Networks 172:106132. Half the codimension of the fibre of the
    product, as in Pepin Lehalleur and Rimányi 2024, arXiv 2411.19920.

    Raises:
        DeclarationError: Fewer than two widths, one below 1, or a `rank` above one.
    """
    if len(widths) < 2:
        raise DeclarationError(
            "widths",
            got=f"{len(widths)} entries",
            expected="at least 2 entries",
            mend="give the widths of the input, of each layer and of the output",
        )
    shape = tuple(widths)
    r = at_most("rank", rank, min(shape), "the least width")
    delta = sorted(width - r for width in shape)
    layers = max(j for j in range(1, len(delta)) if sum(delta[: j + 1]) >= j * delta[j])
    chosen = delta[: layers + 1]
    total = sum(chosen)
    a = total - (-(-total // layers) - 1) * layers
    pairs = Fraction(total * total - sum(d * d for d in chosen), 2)
    value = (
        Fraction(r * (shape[0] + shape[-1]) - r * r, 2)
        + Fraction(a * (layers - a) - (layers - 1) * total * total, 4 * layers)
        + pairs / 2
    )
    return LearningCoefficient(
        value,
        a * (layers - a) + 1,
        "deep linear network, Aoyagi 2024, Neural Networks 172:106132",
    )


@typed
def psd_factorization(dim: Count, width: Count, rank: Whole) -> LearningCoefficient:
    """Coefficient of `|U Uᵀ - M|²`, U of shape `dim x width`, M positive semidefinite of `rank`.

    With d, H, r for dim, width, rank, ::

        value = [r d - r(r-1)/2]/2 + (d - r)(H - r)/4,   multiplicity 1.

    Derivation: in the eigenbasis of M the first r rows of U are of full rank at the truth, and
    rotating U from the right makes them `(R, 0)`. Their products among themselves and with the
    other rows are `r(r+1)/2 + r(d-r) = rd - r(r-1)/2` independent coordinates, a regular minimum;
    what is left is `|V Vᵀ|²`, V of shape `(d-r) x (H-r)`, homogeneous of degree 4 and positive
    off 0. The two add (`direct_sum(regular(...), homogeneous(..., 4))`).

    Raises:
        DeclarationError: If `dim` or `width` is below 1 or `rank` exceeds one of them.
    """
    d, h, r = dim, width, at_most("rank", rank, min(dim, width), "the least width")
    value = Fraction(2 * r * d - r * (r - 1), 4) + Fraction((d - r) * (h - r), 4)
    return LearningCoefficient(value, 1, "positive semidefinite factorisation, by normal form")
