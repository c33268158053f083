"""Checks of a declaration, by shape only: nothing is run, every mistake is named."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from ..core import DeclarationError, weights_of
from ..declare import (
    AbstractDataTerm,
    AbstractEnergy,
    AbstractTerm,
    CrossEntropy,
    Localisation,
    SquaredError,
    Temperature,
)

FLOAT32_BETA = 1e6
"""Above this beta times mass, float32 resolves an energy of order one to worse than 0.1 nats."""


def check_terms(energy: object) -> tuple[tuple[Array | float, AbstractTerm], ...]:
    """The terms of an energy, each checked on its own."""
    if not isinstance(energy, AbstractEnergy):
        raise DeclarationError(
            "energy",
            got=type(energy).__name__,
            expected="an energy",
            mend="declare e.g. bx.SquaredError(model, measure, target), or bx.PerDatum for your "
            "own loss",
        )
    terms = energy.terms()
    if all(isinstance(term, Localisation) for _, term in terms):
        raise DeclarationError(
            "energy",
            got="no term but the localisation, which belongs to the prior",
            expected="at least one term that looks at data, or a violation of interfaces",
            mend="add a SquaredError, CrossEntropy, PerDatum or Violation term",
        )
    for factor, term in terms:
        _check_factor(factor, term)
        if isinstance(term, AbstractDataTerm):
            _check_mass(term)
            _check_loss(term)
    return terms


def masses_of(terms) -> tuple[Array, ...]:
    """Mass of the measure of each data term; 1 where no term looks at data."""
    masses = [t.measure.mass for _, t in terms if isinstance(t, AbstractDataTerm)]
    return tuple(jnp.asarray(mass) for mass in masses) or (jnp.ones(()),)


def _check_factor(factor: Array | float, term: AbstractTerm) -> None:
    if isinstance(factor, Tracer):
        return
    if not math.isfinite(float(factor)) or float(factor) < 0:
        raise DeclarationError(
            "energy",
            got=f"the factor {float(factor)} before {type(term).__name__}",
            expected="a finite, non-negative factor",
            mend="an energy that falls without bound has no Gibbs measure; for the response to "
            "such a term use a susceptibility",
        )


def _check_mass(term: AbstractDataTerm) -> None:
    measure = term.measure
    if measure.signed:
        raise DeclarationError(
            "measure",
            got="a signed measure",
            expected="non-negative weights for a posterior",
            mend="signed measures are perturbations: differentiate along mu + h * (nu - mu) "
            "instead of sampling them",
        )
    if isinstance(measure.mass, Tracer):
        return
    mass = float(measure.mass)
    if not (math.isfinite(mass) and mass > 0):
        raise DeclarationError(
            "measure",
            got=f"mass {mass}",
            expected="a positive, finite mass",
            mend="a measure without mass has no data: check its weights and factors",
        )


def _check_loss(term: AbstractDataTerm) -> None:
    if isinstance(term, SquaredError | CrossEntropy):
        _check_prediction(term)
    try:
        out = _shape_of(term.loss, term.model, term.measure.datum)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            "energy",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a loss of one datum of shape {_shapes(term.measure.datum)}",
            mend="write the loss for one datum; boltzax does the batching",
        ) from error
    if not hasattr(out, "shape") or out.shape != ():
        raise DeclarationError(
            "energy",
            got=f"a loss of shape {_shapes(out)}",
            expected="a scalar loss for one datum",
            mend="sum over the outputs of one datum, e.g. jnp.sum(...)",
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise DeclarationError(
            "energy",
            got=f"a loss of dtype {out.dtype}",
            expected="a real floating-point loss",
            mend="return a float; for accuracies use a differentiable surrogate",
        )


def _check_prediction(term: SquaredError | CrossEntropy) -> None:
    datum = term.measure.datum
    if term.target is None and not (isinstance(datum, tuple | list) and len(datum) == 2):
        raise DeclarationError(
            "target",
            got=f"no target, and data of shape {_shapes(datum)}",
            expected="a target, or data that are pairs (x, y)",
            mend="pass target=bx.zero or a function, or use bx.Empirical((x, y))",
        )
    x = datum if term.target is not None else datum[0]
    try:
        f = _shape_of(lambda model, x: model(x), term.model, x)
    except Exception as error:
        raise DeclarationError(
            "model",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a model of one datum x of shape {_shapes(x)}",
            mend="match the model's input to the measure's dimension (models see one datum)",
        ) from error
    if not hasattr(f, "shape"):
        raise DeclarationError(
            "model",
            got=f"an output that is a {type(f).__name__}",
            expected="one array",
            mend="return one array from model(x)",
        )
    _check_no_broadcast(term, x, f)
    try:
        y = datum[1] if term.target is None else jax.eval_shape(lambda x: term.target(x), x)
        y = jax.eval_shape(jnp.asarray, y) if not hasattr(y, "shape") else y
    except Exception as error:
        raise DeclarationError(
            "target",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a function of one datum x of shape {_shapes(x)}",
            mend="write the target for one datum",
        ) from error
    _check_target(term, f, y)


def _check_no_broadcast(term: AbstractDataTerm, x: PyTree, f) -> None:
    embedding = getattr(term.model, "embedding", None)
    if embedding is None or getattr(embedding, "ndim", 0) != 2 or not hasattr(x, "shape"):
        return
    if x.shape != (embedding.shape[1],):
        raise DeclarationError(
            "model",
            got=f"dim = {embedding.shape[1]}",
            expected=f"the dimension of the measure: data of shape {x.shape}",
            mend=f"declare the model with dim={x.shape[0] if x.shape else 1}, with data of "
            "shape (dim,) each",
        )


def _check_target(term: SquaredError | CrossEntropy, f, y) -> None:
    shape = tuple(getattr(y, "shape", ()))
    if isinstance(term, SquaredError):
        constant = shape == () and term.target is not None
        if shape != tuple(f.shape) and not constant:
            raise DeclarationError(
                "target",
                got=f"shape {shape} against a model output of shape {tuple(f.shape)}",
                expected="equal shapes, so that nothing broadcasts silently",
                mend="reshape the labels or the model's output, e.g. y[:, None] or out[0]",
            )
        return
    classes = tuple(f.shape)
    integer = jnp.issubdtype(y.dtype, jnp.integer)
    if len(classes) > 1:
        raise DeclarationError(
            "model",
            got=f"logits of shape {classes}",
            expected="a vector of logits, or one logit",
            mend="flatten the classes into one axis",
        )
    if not (shape == classes or (shape == () and integer and classes)):
        raise DeclarationError(
            "target",
            got=f"labels of shape {shape} and dtype {y.dtype}",
            expected=f"an integer class, or probabilities of shape {classes}",
            mend="cast labels to integers, or give one probability a class",
        )
    _check_labels(term, classes)


def _check_labels(term: CrossEntropy, classes: tuple[int, ...]) -> None:
    data = term.measure.nodes()[0]
    labels = data[1] if term.target is None else jax.vmap(term.target)(data)
    if isinstance(labels, Tracer):
        return
    labels = np.asarray(labels)
    top = classes[0] - 1 if classes and np.issubdtype(labels.dtype, np.integer) else 1
    if labels.size and (labels.min() < 0 or labels.max() > top):
        raise DeclarationError(
            "target",
            got=f"labels between {labels.min()} and {labels.max()}",
            expected=f"labels between 0 and {top}",
            mend="number the classes from 0 and give the model one logit for each",
        )


def check_weights(terms) -> tuple[PyTree, dict[str, Array]]:
    """The model that all terms share, and its weights by path."""
    models = [term.model for _, term in terms if not isinstance(term, Localisation)]
    model, weights = models[0], weights_of(models[0])
    if not weights:
        raise DeclarationError(
            "model",
            got=f"{type(model).__name__} without weights",
            expected="a pytree with floating-point arrays",
            mend="weights are the floating-point leaves: cast integers, or wrap a function and "
            "its parameters in bx.models.Function(fn, params)",
        )
    structure = {path: jnp.shape(leaf) for path, leaf in weights.items()}
    for _, term in terms:
        other = {path: jnp.shape(leaf) for path, leaf in weights_of(term.model).items()}
        if other != structure:
            raise DeclarationError(
                "energy",
                got=f"terms over different models: {structure} and {other}",
                expected="one model in every term",
                mend="pass the same model to each term",
            )
    kind = jnp.result_type(float)
    for path, leaf in weights.items():
        _check_leaf(path, leaf, kind)
    return model, {path: jnp.asarray(leaf, kind) for path, leaf in weights.items()}


def _check_leaf(path: str, leaf: Array, kind) -> None:
    dtype = jnp.result_type(leaf)
    if dtype != kind:
        raise DeclarationError(
            f"model.{path}",
            got=f"dtype {dtype}",
            expected=f"{kind}, the precision this process computes in",
            mend="make the weights with jnp under the precision you want "
            '(jax.config.update("jax_enable_x64", True) before anything else for float64)',
        )
    if jnp.size(leaf) == 0:
        raise DeclarationError(
            f"model.{path}",
            got=f"shape {jnp.shape(leaf)}",
            expected="at least one entry",
            mend="remove empty leaves from the model",
        )
    if not isinstance(leaf, Tracer) and not bool(jnp.all(jnp.isfinite(leaf))):
        raise DeclarationError(
            f"model.{path}",
            got="a NaN or infinite weight",
            expected="finite weights",
            mend="check the training run that made them",
        )


def check_beta(beta: object, terms) -> Array:
    """The inverse temperature as an array; `Temperature` is resolved by the mass of the data."""
    masses = masses_of(terms)
    if isinstance(beta, Temperature):
        if any(not np.isclose(mass, masses[0]) for mass in masses):
            raise DeclarationError(
                "beta",
                got="a Temperature for data terms of different mass",
                expected="one mass, to turn the mean loss into a sum",
                mend="pass beta as a number",
            )
        beta = beta.beta(float(masses[0]))
    value = check_number("beta", beta)
    check_betas("beta", value, masses)
    if value.shape != ():
        raise DeclarationError(
            "beta",
            got=f"shape {value.shape}",
            expected="one number",
            mend="for a ladder pass betas to bx.anneal",
        )
    return value


def check_number(argument: str, value: object) -> Array:
    """A real number (or an array of them) in the precision in use."""
    if isinstance(value, bool | str) or value is None or not _is_number(value):
        raise DeclarationError(
            argument,
            got=f"{value!r:.80}",
            expected="a number or, in bx.compile, a Temperature",
            mend="pass beta=1.0, or bx.compile(..., beta=bx.temperature.watanabe(n))",
        )
    return jnp.asarray(value, float)


def check_betas(argument: str, betas: Array, masses) -> None:
    """Finite, non-negative, and resolved by the precision in use."""
    if isinstance(betas, Tracer):
        return
    if not bool(jnp.all(jnp.isfinite(betas))):
        raise DeclarationError(
            argument,
            got=f"{betas}",
            expected="finite values (in this precision)",
            mend="use float64 for beta above 1e38, and check for NaN",
        )
    if bool(jnp.any(betas < 0)):
        raise DeclarationError(
            argument,
            got=f"{betas}",
            expected="beta >= 0",
            mend="beta multiplies the energy; for the other sign change the energy",
        )
    largest = float(jnp.max(betas)) * max(float(mass) for mass in masses)
    if jnp.result_type(float) == jnp.float32 and largest > FLOAT32_BETA:
        raise DeclarationError(
            argument,
            got=f"beta times mass = {largest:.3g} in float32",
            expected=f"at most {FLOAT32_BETA:.0e} in float32",
            mend='switch on float64: jax.config.update("jax_enable_x64", True) at the top',
        )


def _is_number(value: object) -> bool:
    try:
        return jnp.issubdtype(jnp.result_type(value), jnp.number) and not jnp.issubdtype(
            jnp.result_type(value), jnp.complexfloating
        )
    except (TypeError, ValueError):
        return False


def _shape_of(fn, *arguments: PyTree) -> PyTree:
    """Shapes and dtypes of `fn(*arguments)`; leaves that are not arrays are taken as they are."""
    return eqx.filter_eval_shape(lambda *a: jax.tree.map(jnp.asarray, fn(*a)), *arguments)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "no message"


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: tuple(getattr(leaf, "shape", ())), tree))
