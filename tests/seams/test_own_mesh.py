"""Data on a mesh of the user's own, whose axes are explicit, give the numbers of one device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURES = ("net", "linear", "minibatch", "classes", "weights")
OTHERS = ("readout", "moments", "sample", "placement")


@pytest.mark.parametrize(
    "cases", [MEASURES, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["measures", "others"]
)
def test_data_and_weights_on_an_explicit_mesh(cases):
    """In a process of its own: the number of devices is fixed when jax starts."""
    script = Path(__file__).parent / "_own_mesh.py"
    done = subprocess.run(
        [sys.executable, script, *cases], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    apart = dict(json.loads(line) for line in done.stdout.splitlines())
    assert set(apart) == set(cases)
    assert all(difference < 1e-9 for difference in apart.values()), apart
