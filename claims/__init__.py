"""The ledger: claims of papers and posts as values, `python -m claims`.

One file a topic; each is a list of rows.
"""

import jax

jax.config.update("jax_enable_x64", True)

from . import a, b, c, d, e, f, g
from ._row import Row

ROWS: tuple[Row, ...] = (*a.ROWS, *b.ROWS, *c.ROWS, *d.ROWS, *e.ROWS, *f.ROWS, *g.ROWS)
