"""Laws of taps: programs that repeat, map, branch, differentiate and store."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import DeclarationError

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4,))
FEW = settings(max_examples=12, deadline=None)


@jax.jit
def activation(x):
    """A compiled function that several modules share."""
    return bx.tap(jnp.tanh(x), "act")


class Layer(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return activation(bx.tap(self.weight @ x, "pre"))


class Steps(eqx.Module):
    """A scan over layers whose weights are stacked."""

    layers: Layer
    reverse: bool = eqx.field(static=True)

    def __call__(self, x):
        arrays, static = eqx.partition(self.layers, eqx.is_array)

        def step(x, arrays):
            x = eqx.combine(arrays, static)(x)
            return x, jnp.sum(x)

        x, sums = jax.lax.scan(step, x, arrays, reverse=self.reverse)
        return x + jnp.dot(sums, jnp.arange(1.0, len(sums) + 1))


class Unrolled(eqx.Module):
    """The same, layer by layer."""

    layers: Layer
    reverse: bool = eqx.field(static=True)

    def __call__(self, x):
        weights = self.layers.weight
        numbers = range(len(weights))
        total = 0.0
        for i in reversed(numbers) if self.reverse else numbers:
            x = activation(bx.tap(weights[i] @ x, f"pre{i}"))
            total = total + (i + 1) * jnp.sum(x)
        return x + total


class Twice(eqx.Module):
    layer: Layer

    def __call__(self, x):
        return self.layer(self.layer(x))


class Pair(eqx.Module):
    first: Layer
    second: Layer

    def __call__(self, x):
        return self.second(self.first(x))


class Mapped(eqx.Module):
    """A layer at each place of two axes, mapped in any position."""

    layer: Layer
    axes: tuple[int, int] = eqx.field(static=True)

    def __call__(self, x):
        (outer, inner) = self.axes
        return jax.vmap(jax.vmap(self.layer, inner, inner), outer, outer)(x)


class Stored(eqx.Module):
    """Values of the layers are computed again in the derivative."""

    pair: Pair

    def __call__(self, x):
        return jax.checkpoint(lambda pair, x: pair(x))(self.pair, x)


class Derived(eqx.Module):
    """A derivative of a net by its input, inside the model."""

    pair: Pair
    by: str = eqx.field(static=True)

    def __call__(self, x):
        def scalar(x):
            return jnp.sum(self.pair(x) ** 3)

        if self.by == "hessian":
            return jax.hessian(scalar)(x)
        if self.by == "jacrev of each":
            return jax.vmap(jax.jacrev(self.pair))(jnp.stack([x, 2 * x]))
        if self.by == "jacfwd of each":
            return jax.vmap(jax.jacfwd(self.pair))(jnp.stack([x, 2 * x]))
        if self.by == "grad of each":
            return jax.vmap(jax.grad(scalar))(jnp.stack([x, 2 * x]))
        return jax.grad(scalar)(x)


class Branch(eqx.Module):
    pair: Pair

    def __call__(self, x):
        second = self.pair.second
        x = self.pair.first(x)
        return jax.lax.cond(x[0] > 0, lambda x: second(x), lambda x: x, x)


class Loop(eqx.Module):
    layer: Layer

    def __call__(self, x):
        return jax.lax.while_loop(lambda x: jnp.sum(x**2) > 0.1, lambda x: self.layer(x) / 2, x)


def mixing(value):
    """A function with a Jacobian that is not symmetric."""
    return jnp.cumsum(value**2, axis=-1)


class Mixing(eqx.Module):
    """A layer followed by a function, to compare with a patched layer."""

    layer: Layer

    def __call__(self, x):
        return mixing(self.layer(x))


def layer(number=0) -> Layer:
    return Layer(jax.random.normal(jax.random.fold_in(KEY, number), (4, 4)))


PAIR = Pair(layer(0), layer(1))


def stacked(count: int) -> Layer:
    return Layer(jax.random.normal(KEY, (count, 4, 4)))


@given(st.integers(1, 4), st.booleans())
@FEW
def test_a_scan_is_read_and_patched_as_its_steps_are(count, reverse):
    scan, unrolled = (kind(stacked(count), reverse) for kind in (Steps, Unrolled))
    read = bx.activations(scan, X, "layers.pre")["layers.pre"]
    steps = bx.activations(unrolled, X)
    np.testing.assert_allclose(read, jnp.stack([steps[f"pre{i}"] for i in range(count)]))
    np.testing.assert_allclose(bx.patched(scan, {"layers.pre": read})(X), scan(X))
    values = jax.random.normal(KEY, (count, 4))
    each = {f"pre{i}": values[i] for i in range(count)}
    expected = bx.patched(unrolled, each)(X)
    np.testing.assert_allclose(bx.patched(scan, {"layers.pre": values})(X), expected)
    ablated = bx.patched(unrolled, {"pre*": bx.Ablate(1, 0.5)})(X)
    np.testing.assert_allclose(bx.patched(scan, {"layers.pre": bx.Ablate(1, 0.5)})(X), ablated)


def test_noise_differs_between_steps_and_keys():
    scan = Steps(stacked(3), False)

    def noise(key):
        noisy = bx.patched(scan, {"*": 0.0, "layers.pre": bx.Noise(1.0, key=key)})
        return bx.activations(noisy, X)["layers.pre"]

    rows = np.concatenate([noise(key) for key in jax.random.split(KEY, 2)])
    assert len({tuple(row) for row in rows.tolist()}) == 6


def test_a_module_that_is_used_twice_is_read_and_patched_at_each_use():
    twice = Twice(layer())
    first = twice.layer(X)
    read = bx.activations(twice, X, "layer")["layer"]
    np.testing.assert_allclose(read, jnp.stack([first, twice.layer(first)]))
    values = jax.random.normal(KEY, (2, 4))
    np.testing.assert_array_equal(bx.patched(twice, {"layer": values})(X), values[1])
    np.testing.assert_array_equal(bx.patched(twice, {"layer": values[0]})(X), values[0])


@pytest.mark.parametrize("repeats", ["steps", "checkpoint"])
def test_repetitions_before_another_use_are_counted(repeats):
    class Again(eqx.Module):
        layer: Layer

        def __call__(self, x):
            if repeats == "checkpoint":
                return self.layer(jax.checkpoint(lambda layer, x: layer(x))(self.layer, x))
            x, _ = jax.lax.scan(lambda x, _: (self.layer(x), None), x, None, 1)
            return self.layer(x)

    again = Again(layer())
    if repeats == "steps":
        with pytest.raises(DeclarationError, match="met 2 times"):
            bx.activations(again, X, "layer")
        return
    first, values = again.layer(X), jax.random.normal(KEY, (2, 4))
    read = bx.activations(again, X, "layer")["layer"]
    np.testing.assert_allclose(read, jnp.stack([first, again.layer(first)]))
    np.testing.assert_array_equal(bx.patched(again, {"layer": values})(X), values[1])


def test_a_compiled_function_that_modules_share_has_a_place_in_each():
    PAIR(X)  # compiled and cached before it is read
    first = PAIR.first(X)
    read = bx.activations(PAIR, X, "*.act")
    np.testing.assert_allclose(read["first.act"], first)
    np.testing.assert_allclose(read["second.act"], PAIR(X))
    assert "mark" not in str(jax.make_jaxpr(lambda x: PAIR(x))(X))


@given(st.permutations(range(3)))
@FEW
def test_mapped_axes_come_first_outer_to_inner(order):
    outer, inner, width = order
    inner_after = inner - (inner > outer)
    x = jax.random.normal(KEY, [2, 3, 4])
    x = jnp.moveaxis(x, (0, 1, 2), (outer, inner, width))
    model = Mapped(layer(), (outer, inner_after))
    read = bx.activations(model, x, "layer.pre")["layer.pre"]
    expected = jnp.einsum("ij,abj->abi", model.layer.weight, jnp.moveaxis(x, order, (0, 1, 2)))
    np.testing.assert_allclose(read, expected, rtol=1e-12)
    np.testing.assert_allclose(bx.patched(model, {"layer.pre": read})(x), model(x))


def test_activations_of_mapped_models_are_mapped_activations():
    xs = jax.random.normal(KEY, (5, 4))
    model = Mapped(layer(), (0, 0))
    grid = jax.random.normal(KEY, (2, 3, 4))
    each = jax.vmap(jax.vmap(lambda x: bx.activations(model.layer, x)))(grid)
    whole = bx.activations(model, grid)
    assert {f"layer.{name}" for name in each} | {"layer"} == set(whole)
    for name, value in each.items():
        np.testing.assert_allclose(whole[f"layer.{name}"], value)
    batch = jax.jit(jax.vmap(lambda x: bx.activations(PAIR, x)))(xs)
    one_by_one = [bx.activations(PAIR, x) for x in xs]
    for name, value in batch.items():
        np.testing.assert_allclose(value, jnp.stack([read[name] for read in one_by_one]))


def test_checkpointed_values_are_still_computed_again():
    stored = Stored(PAIR)
    doubled = bx.patched(stored, {"pair.first": lambda value: 2 * value})
    np.testing.assert_allclose(doubled(X), PAIR.second(2 * PAIR.first(X)))

    def twice(x):
        return PAIR.second(2 * PAIR.first(x))

    np.testing.assert_allclose(jax.jacrev(doubled)(X), jax.jacrev(twice)(X), rtol=1e-12)
    assert "remat" in str(jax.make_jaxpr(lambda x: doubled(x))(X))
    assert set(bx.activations(stored, X)) >= {"pair", "pair.first", "pair.second.pre"}


@pytest.mark.parametrize("by", ["grad", "jacfwd of each", "jacrev of each", "grad of each"])
def test_derivatives_inside_the_model_are_those_of_the_patched_function(by):
    patched = bx.patched(Derived(PAIR, by), {"pair.first": mixing})
    expected = Derived(Pair(Mixing(PAIR.first), PAIR.second), by)
    np.testing.assert_allclose(patched(X), expected(X), rtol=1e-12)


def test_second_derivatives_inside_the_model_are_read_but_not_patched():
    model = Derived(PAIR, "hessian")
    read = bx.activations(model, X, "pair.first")["pair.first"]
    np.testing.assert_allclose(read, PAIR.first(X))
    with pytest.raises(DeclarationError, match="second derivative"):
        bx.patched(model, {"pair.first": mixing})(X)


@given(st.floats(-2, 2), st.integers(0, 3))
@FEW
def test_gradients_by_a_patched_value_are_directional_derivatives(scale, entry):
    def output(value):
        return bx.patched(PAIR, {"first": value})(X) @ jnp.arange(4.0)

    value, along = scale * jnp.ones(4), jnp.eye(4)[entry]
    gradient = jax.grad(output)(value)
    slope = jax.jvp(output, (value,), (along,))[1]
    exact = jax.grad(lambda value: PAIR.second(value) @ jnp.arange(4.0))(value)
    np.testing.assert_allclose(gradient[entry], slope, rtol=1e-12)
    np.testing.assert_allclose(gradient, exact, rtol=1e-12)


def test_branches_and_loops_of_unknown_length_are_refused_if_asked_for():
    branch = Branch(PAIR)
    assert set(bx.taps(branch, X)) == {"pair.first", "pair.first.pre", "pair.first.act"}
    assert list(bx.activations(branch, X, "pair.first")) == ["pair.first"]
    ablated = bx.patched(branch, {"pair.first": bx.Ablate()})
    np.testing.assert_array_equal(ablated(X), jnp.zeros(4))
    with pytest.raises(DeclarationError, match="inside a cond"):
        bx.activations(branch, X, "*second")
    with pytest.raises(DeclarationError, match="inside a cond"):
        bx.patched(branch, {"*second": bx.Ablate()})(X)
    assert bx.taps(Loop(layer()), X) == {}
    with pytest.raises(DeclarationError, match="inside a while"):
        bx.activations(Loop(layer()), X, "layer")


def test_places_met_with_different_shapes_are_refused():
    class Uneven(eqx.Module):
        def __call__(self, x):
            return jnp.sum(bx.tap(x, "same")) + jnp.sum(bx.tap(x[:2], "same"))

    with pytest.raises(DeclarationError, match="met 2 times"):
        bx.activations(Uneven(), X)


def test_interventions_follow_each_other_in_the_order_given():
    after = bx.patched(PAIR, {"second": bx.Ablate(), "s*d": lambda value: value + 1})
    before = bx.patched(PAIR, {"s*d": lambda value: value + 1, "second": bx.Ablate()})
    for model, result in ((after, 1.0), (before, 0.0)):
        leaves, structure = jax.tree.flatten(model)
        np.testing.assert_array_equal(jax.tree.unflatten(structure, leaves)(X), np.full(4, result))


def test_a_patched_model_is_read_and_patched_as_any_other():
    once = bx.patched(PAIR, {"first": bx.Ablate(0, 3.0)})
    assert bx.activations(once, X, "first")["first"][0] == 3.0
    twice = bx.patched(once, {"first": bx.Ablate(1, 4.0)})
    assert bx.activations(twice, X, "first")["first"][:2].tolist() == [3.0, 4.0]
    outer = Twice(once)
    assert list(bx.taps(outer, X)) == [f"layer.{name}" for name in bx.taps(PAIR, X)] + ["layer"]
    assert bx.activations(outer, X, "layer.first")["layer.first"][:, 0].tolist() == [3.0, 3.0]
