"""Names that need flint, which is slow to import, and are imported when first used."""

LAZY = dict.fromkeys(
    (
        "UnsupportedError",
        "arb",
        "arb_mat",
        "extended",
        "gaussian_rule",
        "interval_rule",
        "largest",
        "logs",
        "matrix",
        "powers",
        "precision",
        "table",
        "to_float",
        "triangular",
    ),
    "_extended_precision",
)
"""Each of these names, and its module."""
