"""No program is compiled by a second identical call of a public verb, nor for new numbers.

New numbers are data of the same shapes, keys and β. A program costs some 40 ms at least, many of
them a second; one that is compiled at every call is a leak of memory too.
"""

import contextlib
import fnmatch
import inspect
import re
from collections.abc import Callable, Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import boltzax as bx

from .._source import ROOT
from ._calls import CALLS, Given, given

COMPILED = "/jax/core/compile/backend_compile_duration"
"""What jax tells of each program that it compiles, or reads from its cache of earlier processes."""

LENGTHS = {
    "local_learning_coefficient": "how long it runs depends on the draws, and so do the shapes",
}
"""Calls that may compile for new numbers, and why; not when all is the same."""

DEAR = (
    "free_energy_bounds", "effective_parameters", "spectrum", "influence", "phases",
    "coefficient_curve", "local_learning_coefficient", "sample by HMC", "sample by SGLD",
    "sample by NUTS", "sample by Underdamped", "sample, reduced", "anneal by smc", "load_trace",
    "open_zarr", "wbic", "Bounds.excess", "interfaces.entropy by temperature",
    "interfaces.maximise_interfaces", "interfaces.maximum_entropy",
    "interfaces.interface_law", "interfaces.InterfaceLaw.*", "interfaces.shared_entropy",
    "interfaces.satisfaction_law", "interfaces.expected_satisfaction", "interfaces.condition",
    "interfaces.subset_entropy", "interfaces.SubsetEntropy.*", "interfaces.certify",
    "meanfield.tempered", "meanfield.sweep", "meanfield.confront", "meanfield.fixed_points",
    "meanfield.finite_width*", "meanfield.Background.lazy", "meanfield.Background.from_kernel",
    "cases.modular_width", "log_probability by temperature", "LogProbability.draw",
    "channels.label_response", "channels.data_interactions", "channels.channel_cost",
    "cases.far_channels", "degrade.loss_complexity", "degrade.error_rates", "degrade.remainder",
    "meanfield.solve", "meanfield.Background.from_ensemble", "run", "sample by SVRG",
    "channels.localization_length", "influence of tokens", "classical_influence",
    "degrade.clean_window", "part_coefficients", "response_matrix", "channels.bits_of_optimisation",
    "meanfield.ride_along", "linear_datamodeling_score", "cases.modular_residual", "retrained",
)  # fmt: skip
"""Calls whose first compilation takes more than a second or two, and that others do not need."""

UNDRAWN = """Chain Channel Circuit Component Contract Ensemble Family Function PerDatum Run
    ToldAtTheEnd Tokens
    Weighted""".split()
"""Classes without a figure: what they hold is declared, or weights."""
STEPS = """init step record at_step step_of cost position moved learn scales update result
    restrict""".split()
DATUM = "check_label counted parts loss residual prediction change terms".split()
NEURONS = """meanfield.Frozen meanfield.Layered meanfield.LinearCumulant cases.ModularEnsemble
    cases.ModularPrior""".split()
EXEMPT = {
    "AbstractMeasure.*": "its subclasses are called",
    **{f"*.{name}": "runs inside a compiled loop" for name in STEPS},
    **{f"*.{name}": "of one datum: runs inside an integral" for name in DATUM},
    "*.basis": "gives what was declared",
    "Evidence.melted": "arithmetic of Python numbers",
    "Independent.resolve": "names of weights",
    "Interface.index": "a place in what was declared",
    "Interface.sets": "what was declared, as numbers of Python",
    "AdamSGLD": "a declaration",
    "RMSpropSGLD": "a declaration",
    "TruncatedNormal": "a declaration",
    "Checkpoints.*": "runs inside `sample`: files",
    "ZarrSink.*": "runs inside `sample`: files",
    "Placement.*": "runs inside `sample` and `run`",
    "meanfield.Replayed.at": "runs inside a compiled loop",
    "meanfield.Static.at": "runs inside a compiled loop",
    "interfaces.Family*": "an alias of `boltzax.Family`",
    "interfaces.ChainTables.family": "a part of what was computed",
    "interfaces.ChainTables.pairs": "places in tables",
    "meanfield.Abstract*": "its subclasses are called",
    **{f"{name}.*": "runs inside compiled functions" for name in NEURONS},
    "meanfield.SelfConsistency.*": "what is not called runs inside compiled functions",
    "meanfield.Jumps.none": "makes an empty result",
    "meanfield.Neuron.coordinates": "runs inside compiled functions",
    "degrade.Abstract*": "its subclasses are called",
    "degrade.*.ensemble": "a part of `ensembles`",
    "degrade.*.upon": "runs inside `ensembles`",
    "degrade.*.changed": "runs inside `ensembles`",
    "degrade.*.rows": "numbers of numpy",
    "degrade.*.along": "numbers of numpy",
    "theory.*": "numpy and scipy, without jax",
    "cases.curie_weiss*": "numpy and scipy, without jax",
    "cases.gain_chain_evidence": "numbers of Python",
    "cases.modular_exact": "numpy and scipy, without jax",
    "cases.modular_answer": "numpy and scipy, without jax",
    "cases.modular_phases": "numpy and scipy, without jax",
    "cases.ModularExact.*": "numpy and scipy, without jax",
    "cases.ModularPhases.*": "numpy and scipy, without jax",
}
"""Public functions and methods that are not called here, and why."""


class Count:
    """How many programs were compiled."""

    programs = 0

    def __call__(self, event: str, seconds: float, **kwargs) -> None:
        self.programs += event == COMPILED


@contextlib.contextmanager
def counted() -> Iterator[Count]:
    """Count the programs that are compiled meanwhile."""
    count = Count()
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


def look(result) -> None:
    """Read all that a result shows: its text, and the properties of it and of its parts."""
    for part in jax.tree.leaves(result, is_leaf=lambda part: isinstance(part, eqx.Module)):
        if isinstance(part, eqx.Module) and type(part).__module__.startswith("boltzax"):
            repr(part)
            for name, member in inspect.getmembers_static(type(part)):
                if isinstance(member, property) and not name.startswith("_"):
                    with contextlib.suppress(bx.DeclarationError):  # e.g. draws that were not kept
                        getattr(part, name)


def draw(result) -> None:
    """`bx.plot.result` draws every result; declarations and weights have no figure."""
    kind = type(result)
    results = isinstance(result, eqx.Module) and kind.__module__.startswith("boltzax.")
    if results and kind.__name__ not in UNDRAWN:
        assert bx.plot.result(result, ax=Figure().add_subplot()).has_data()


def compiled_again(make: Callable[[Given], Callable]) -> tuple[int, int]:
    """Programs that a second identical call compiles, and one with other numbers.

    The last result is drawn: a figure of every result, without a call of its own.
    """
    look(make(given(0))())
    counts = []
    for number in (0, 1):
        with counted() as count:
            result = make(given(number))()
            look(result)
        counts.append(count.programs)
    draw(result)
    return counts[0], counts[1]


def case(name: str):
    dear = any(fnmatch.fnmatch(name, each) for each in DEAR)
    return pytest.param(name, marks=[pytest.mark.slow] if dear else [])


@pytest.mark.parametrize("name", [case(name) for name in CALLS])
def test_a_second_call_compiles_nothing(name):
    identical, other = compiled_again(CALLS[name])
    assert identical == 0
    assert name in LENGTHS or other == 0


def test_a_fresh_lambda_that_is_compiled_is_caught():
    def at_every_call(g: Given):
        return lambda: jax.jit(lambda x: 2 * x)(g.scale)

    assert compiled_again(at_every_call) == (1, 1)


def test_numbers_that_are_settings_are_caught():
    @eqx.filter_jit
    def times(x, factor: float):
        return factor * x

    assert compiled_again(lambda g: lambda: times(jnp.ones(3), g.scale)) == (0, 1)


def test_an_eager_operation_on_another_shape_is_caught():
    class Result(eqx.Module):
        values: jax.Array

        @property
        def total(self):
            return jnp.sum(self.values)

    Result.__module__ = "boltzax.planted"
    sizes = iter((101, 101, 102))
    found = compiled_again(lambda g: lambda: Result(jax.device_put(np.ones(next(sizes)))))
    assert found[0] == 0 and found[1] > 0


def public_verbs() -> Iterator[str]:
    """Every public function, and every public method of a public class."""
    for prefix in ("", "cases.", "channels.", "degrade.", "interfaces.", "meanfield.", "theory."):
        module = getattr(bx, prefix.rstrip(".")) if prefix else bx
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and not inspect.isclass(value):
                yield prefix + name
            elif inspect.isclass(value) and value.__module__.startswith("boltzax"):
                yield from (f"{prefix}{name}.{method}" for method in methods(value))


def methods(kind: type) -> Iterator[str]:
    """The public methods of a class that are written in boltzax."""
    for name in dir(kind):
        written = inspect.getattr_static(kind, name)
        inner = written.__func__ if isinstance(written, classmethod | staticmethod) else written
        home = getattr(inner, "__module__", None) or ""
        plain = callable(inner) and not isinstance(inner, type)
        if plain and not name.startswith("_") and home.startswith("boltzax"):
            yield name


def not_called(verbs: Iterable[str], calls: Iterable[str]) -> list[str]:
    """The verbs without a call, but for those that are exempt."""
    called = {name.split(" ")[0].rstrip(",") for name in calls}
    left = [verb for verb in verbs if verb not in called]
    return [verb for verb in left if not any(fnmatch.fnmatch(verb, each) for each in EXEMPT)]


def test_every_public_verb_is_called():
    verbs = set(public_verbs())
    assert not_called(verbs, CALLS) == []
    assert [each for each in EXEMPT if not fnmatch.filter(verbs, each)] == []
    assert set(LENGTHS) <= set(CALLS)
    assert [each for each in DEAR if not fnmatch.filter(CALLS, each)] == []


def test_a_verb_without_a_call_is_caught():
    assert not_called(["sample", "Trace.mean", "new"], ["sample by HMC", "Trace.mean"]) == ["new"]


def test_one_file_of_theory_uses_jax():
    texts = {p.name: p.read_text() for p in (ROOT / "theory").glob("*.py")}
    users = [name for name, text in texts.items() if re.search(r"^(import|from) jax", text, re.M)]
    assert users == ["_quadrature.py"]
