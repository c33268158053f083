"""What `compile` refuses of model, output and labels, `energy.value` refuses too."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
N = 12
X = np.linspace(-1, 1, N)[:, None]
CLASSES = np.arange(N) % 3
THREE = bx.models.MLP((1, 4, 3), key=KEY)
ONE = bx.models.MLP((1, 4, 1), key=KEY)
VECTOR = bx.models.Function(lambda p, x: p["a"] * x, {"a": jnp.ones(1)})


class Learner(eqx.Module):
    """A model that changes when it is called, as batch statistics do."""

    w: jax.Array
    seen: list

    def __call__(self, x):
        self.seen.append(jnp.zeros(()))
        return self.w * x[0]


def classes(y, model=THREE, **options):
    return bx.CrossEntropy(model, bx.Empirical((X, y)), **options)


def squares(y, model=ONE):
    return bx.SquaredError(model, bx.Empirical((X, y)))


REFUSED = {
    "float labels": ("measure", lambda: classes(CLASSES.astype(float))),
    "a column of labels": ("measure", lambda: classes(CLASSES[:, None])),
    "a label of -1": ("measure", lambda: classes(np.where(CLASSES == 1, -1, CLASSES))),
    "a label beyond the classes": ("measure", lambda: classes(CLASSES + 1)),
    "three classes for a scalar logit": ("measure", lambda: classes(CLASSES, ONE)),
    "a logit of one class": ("model", lambda: classes(0 * CLASSES, VECTOR)),
    "probabilities that sum to 2": ("measure", lambda: classes(2 * np.eye(3)[CLASSES])),
    "an ignored label of floats": ("ignore", lambda: classes(np.eye(3)[CLASSES], ignore=0)),
    "data without labels": ("target", lambda: bx.CrossEntropy(THREE, bx.Empirical(X))),
    "a column of values": ("measure", lambda: squares(X)),
    "a vector for scalars": ("measure", lambda: squares(X[:, 0], VECTOR)),
    "a target that is a vector": (
        "target",
        lambda: bx.SquaredError(ONE, bx.GaussianMeasure(1), lambda x: x),
    ),
    "a target that is no class": (
        "target",
        lambda: bx.CrossEntropy(THREE, bx.GaussianMeasure(1), lambda x: jnp.asarray(-1)),
    ),
    "a target that is NaN": (
        "target",
        lambda: bx.CrossEntropy(ONE, bx.GaussianMeasure(1), lambda x: jnp.log(-1.0)),
    ),
    "inputs of another size": (
        "model",
        lambda: bx.SquaredError(ONE, bx.GaussianMeasure(2), bx.zero),
    ),
    "a net that would broadcast": (
        "model",
        lambda: bx.SquaredError(bx.models.TwoLayer(2), bx.Empirical((X[:, 0], X[:, 0]))),
    ),
    "a loss that is a vector": (
        "energy",
        lambda: bx.PerDatum(ONE, bx.Empirical((X, X)), lambda f, z: f(z[0]) * z[1]),
    ),
    "a loss that counts": (
        "energy",
        lambda: bx.PerDatum(ONE, bx.Empirical((X, X)), lambda f, z: jnp.sum(f(z[0]) > z[1])),
    ),
    "a model that a call changes": (
        "model",
        lambda: squares(X[:, 0], Learner(jnp.ones(()), [])),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_compile_refuses_has_no_value(case):
    argument, declared = REFUSED[case]
    energy = declared()
    verbs = {
        "compile": lambda: bx.compile(energy, bx.Normal()),
        "value": lambda: energy.value(energy.model),
        "estimate": lambda: energy.estimate(energy.model, KEY),
        "value under jit": lambda: eqx.filter_jit(lambda m: energy.value(m))(energy.model),
        "a part of a sum": lambda: (energy + 2.0 * energy).value(energy.model),
    }
    for verb in verbs.values():
        with pytest.raises(bx.DeclarationError) as caught:
            verb()
        assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        (THREE, CLASSES, np.where(CLASSES == 1, -1, CLASSES)),
        (THREE, CLASSES, CLASSES + 1),
        (ONE, CLASSES % 2, CLASSES),
        (ONE, CLASSES % 2, -(CLASSES % 2)),
        (THREE, np.eye(3)[CLASSES], 2 * np.eye(3)[CLASSES]),
        (THREE, np.eye(3)[CLASSES], np.eye(3)[CLASSES] - 1 / 3),
        (THREE, np.eye(3)[CLASSES], np.eye(3)[CLASSES] @ [[1, 1, -1], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_traced_labels_that_are_no_classes_give_nan(model, good, bad):
    """Nobody can look at them; a number would be wrong."""

    def value(y):
        return bx.CrossEntropy(model, bx.Empirical((X, y))).value(model)

    both = jax.jit(jax.vmap(value))(jnp.stack([good, bad]))
    assert np.isclose(both[0], value(good), rtol=1e-5)
    assert np.isnan(both[1])


@pytest.mark.parametrize("entry", [0.5, 2.0, -1.0, np.nan])
@pytest.mark.parametrize(("model", "y"), [(THREE, CLASSES), (ONE, CLASSES % 2)])
def test_a_traced_mask_that_says_neither_yes_nor_no_gives_nan(model, y, entry):
    """It would count as yes: a weight of a half would be one, and NaN would vanish."""
    mask = np.where(np.arange(N) == 3, 0.0, 1.0)

    def value(mask):
        energy = bx.CrossEntropy(model, bx.Empirical((X, y, mask)), count="tokens")
        return energy.value(model)

    both = jax.jit(jax.vmap(value))(jnp.stack([mask, np.where(np.arange(N) == 5, entry, mask)]))
    assert np.isclose(both[0], value(mask), rtol=1e-5)
    assert np.isnan(both[1])


@pytest.mark.parametrize("y", [CLASSES.astype(float), CLASSES[:, None]])
def test_shapes_of_traced_labels_are_checked(y):
    with pytest.raises(bx.DeclarationError, match="measure"):
        jax.vmap(lambda y: classes(y).value(THREE))(jnp.stack([y, y]))


@pytest.mark.parametrize(
    ("labels", "model"),
    [(CLASSES, THREE), (np.eye(3)[CLASSES], THREE), (CLASSES % 2, ONE), ((CLASSES % 2) > 0, ONE)],
)
def test_labels_that_fit_keep_their_value(labels, model):
    logits = np.asarray(jax.vmap(model)(X), float)
    if logits.ndim == 1:
        logits = np.stack([0 * logits, logits], axis=-1)
    log_p = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
    wide = labels if np.ndim(labels) == 2 else np.eye(logits.shape[-1])[labels.astype(int)]
    assert np.isclose(classes(labels, model).value(model), -np.sum(wide * log_p), rtol=1e-5)
