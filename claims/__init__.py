"""The ledger: claims of papers and posts as values, `python -m claims`.

One file a topic; each is a list of rows.
"""

import jax

jax.config.update("jax_enable_x64", True)

from . import c, e, f
from ._row import Row

ROWS: tuple[Row, ...] = (*c.ROWS, *e.ROWS, *f.ROWS)
