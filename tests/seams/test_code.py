"""A run goes on only under the same code: whatever a declaration can reach belongs to it."""

import json
import sys
import textwrap
import time
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import Chains, Plan, describe, differences, fingerprint

HEAD = """
import dataclasses, functools, typing
import equinox as eqx, jax, jax.numpy as jnp
import boltzax as bx
from boltzax.sample import RandomWalk, AbstractKernel
"""

REACHED = {
    "a method": """
        class Net(eqx.Module):
            w: jax.Array
            def __call__(self, x):
                return jnp.sum(self.w) * BODY
        value = Net(jnp.ones(3))
    """,
    "a method of a base": """
        class Base(eqx.Module):
            def act(self, x):
                return BODY
        class Net(Base):
            w: jax.Array
            def __call__(self, x):
                return self.act(x)
        value = Net(jnp.ones(3))
    """,
    "a class that a method calls": """
        class Helper:
            def __init__(self, k):
                self.k = k
            def scale(self, x):
                return x * BODY
        class Net(eqx.Module):
            def __call__(self, x):
                return Helper(2).scale(x)
        value = Net()
    """,
    "a property": """
        class Net(eqx.Module):
            @property
            def width(self):
                return BODY
        value = [Net()]
    """,
    "a static method of a jitted one": """
        class Net(eqx.Module):
            @staticmethod
            def act(x):
                return BODY
            @eqx.filter_jit
            def __call__(self, x):
                return self.act(x)
        value = {"net": Net()}
    """,
    "a jitted method": """
        class Net(eqx.Module):
            @eqx.filter_jit
            def __call__(self, x):
                return BODY
        value = Net()
    """,
    "a constant of a class": """
        class Net(eqx.Module):
            power = BODY
        value = Net()
    """,
    "a plain class with slots": """
        class Net:
            __slots__ = ("k",)
            def __call__(self, x):
                return self.k * x
        value = Net()
        value.k = BODY
    """,
    "a partial": """
        def f(k, x):
            return k * x * BODY
        value = functools.partial(f, 2.0)
    """,
    "a decorator": """
        def twice(fn):
            @functools.wraps(fn)
            def inner(x):
                return fn(x) * BODY
            return inner
        @twice
        def value(x):
            return x
    """,
    "a mapped function": """
        def f(x):
            return x * BODY
        value = jax.vmap(f)
    """,
    "a rule of differentiation": """
        @jax.custom_jvp
        def value(x):
            return x
        @value.defjvp
        def rule(primals, tangents):
            return primals[0], tangents[0] * BODY
    """,
    "a closure over an object": """
        class Table:
            def look(self, x):
                return BODY
        def make(table):
            return lambda x: table.look(x)
        value = make(Table())
    """,
    "a global object": """
        class Table:
            def __init__(self):
                self.size = BODY
        TABLE = Table()
        def value(x):
            return TABLE.size * x
    """,
    "a named tuple": """
        class State(typing.NamedTuple):
            x: float
            def read(self):
                return BODY
        value = State(1.0)
    """,
    "a dataclass": """
        @dataclasses.dataclass
        class Settings:
            x: float
            def read(self):
                return self.x * BODY
        value = Settings(1.0)
    """,
    "a kernel": """
        class Walk(AbstractKernel):
            def init(self, gibbs, w, key, warmup):
                return w
            def step(self, gibbs, state, key, gain, warmup):
                return BODY
            def position(self, state):
                return state
            def moved(self, gibbs, state, w, key):
                return w
        value = Walk()
    """,
    "an inner function": """
        def value(x):
            def inner(y):
                return [y * BODY for _ in range(3)]
            return inner(x)
    """,
}


def made(source: str, body: str):
    space = {"__name__": "someones_script"}
    exec(HEAD + textwrap.dedent(source).replace("BODY", body), space)
    return space["value"]


def lines(old, new):
    pair = [json.loads(json.dumps(describe("value", each))) for each in (old, new)]
    return differences(*pair)


@pytest.mark.parametrize("name", REACHED)
def test_what_a_declaration_can_reach_is_part_of_it(name):
    source = REACHED[name]
    changed, other = lines(made(source, "3.0"), made(source, "4.0"))
    assert changed and not other, name
    assert lines(made(source, "3.0"), made(source, "3.0")) == ([], [])


@pytest.mark.parametrize("reads", ["helpers.f", "from", "import"])
def test_modules_of_the_user_are_followed(monkeypatch, reads):
    """An attribute of a module, a name imported inside a function, a module imported there."""
    source = {
        "helpers.f": "import helpers\ndef value(x):\n    return helpers.f(x)",
        "from": "def value(x):\n    from helpers import f\n    return f(x)",
        "import": "def value(x):\n    import helpers\n    return helpers.f(x)",
    }[reads]
    found = []
    for body in ("x", "x + 1", "x + 1"):
        module = types.ModuleType("helpers")
        exec(f"def f(x):\n    return {body}", module.__dict__)
        monkeypatch.setitem(sys.modules, "helpers", module)
        found.append(describe("value", made(source, "")))
    assert differences(found[0], found[1])[0]
    assert differences(found[1], found[2]) == ([], [])


def test_code_of_libraries_is_named_and_fast():
    net = eqx.nn.MLP(2, 1, 64, 3, key=jax.random.key(0))
    begin = time.perf_counter()
    found = describe("value", (net, jax.nn.gelu, bx.Normal(), bx.MALA()))
    assert time.perf_counter() - begin < 10
    assert not [name for name, entry in found.items() if "equinox" in name or "__call__" in name]
    assert len(found) < 150


def test_a_run_is_not_resumed_under_another_body(tmp_path):
    """Of the model, which lowering has done away with, and of the kernel."""
    x = np.linspace(-1, 1, 12)[:, None]
    model = REACHED["a method"].replace("BODY", "x[0] * BODY")
    walk = REACHED["a kernel"]

    def plan(body, step):
        energy = bx.SquaredError(made(model, body), bx.Empirical((x, x[:, 0])))
        gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
        start = {"w": jnp.ones((4, 3))}
        dynamics = Chains(gibbs, made(walk, step), True)
        return fingerprint(Plan(dynamics, start, jax.random.key(0), 4, 1, 2, 8))

    old = plan("2.0", "1")
    assert differences(old, plan("2.0", "1")) == ([], [])
    assert any("Net.__call__" in each for each in differences(old, plan("2.5", "1"))[0])
    assert any("Walk.step" in each for each in differences(old, plan("2.0", "2"))[0])
