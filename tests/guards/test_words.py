"""A public name has one owner: one word, one meaning."""

import warnings
from collections import defaultdict
from collections.abc import Iterator

import pytest

import boltzax as bx

from .._source import ROOT, Source, planted, read_package

NAMESPACES = (
    "", ".cases", ".channels", ".degrade", ".interfaces", ".meanfield", ".models", ".temperature",
    ".theory", ".testing",
)  # fmt: skip
"""Not `plot`, whose figures have the names of what they draw."""

SHARED = {
    "entropy": "minus the relative entropy to the prior: at one β, and at β → ∞ under a contract",
    "models": "the templates, and the strategy that draws one of them",
    "Outcome": "of an estimate of an entropy, where a `Status` will stand; and of a test",
}
"""Words with two owners, and why. The list may only become shorter."""


def words_of_two_owners(source: Source, root: str) -> Iterator[str]:
    """Public names that mean two things, and public classes with a namesake anywhere."""
    owners = defaultdict(set)
    for namespace in NAMESPACES:
        for name in source.names.get(root + namespace, ()):
            if not name.startswith("_"):
                found = source.definition(root + namespace, name)
                owners[name].add(found[0] if found else source.names[root + namespace][name][0])
    for module, node in source.classes():
        if node.name in owners:
            owners[node.name].add(module)
    yield from sorted(name for name, modules in owners.items() if len(modules) > 1)


@pytest.fixture(scope="module")
def package() -> Source:
    return read_package(ROOT)


def test_every_public_word_has_one_owner(package):
    assert set(words_of_two_owners(package, "boltzax")) == set(SHARED)


PLANTED = {
    "two functions": planted(
        init="from .core import f as f\n",
        core="from ._a import f as f\n",
        core___a="def f(): pass\n",
        theory="from ._b import f as f\n",
        theory___b="def f(): pass\n",
    ),
    "two constants": planted(
        init="from ._a import F as F\n",
        _a="F = 1\n",
        theory="from ._b import F as F\n",
        theory___b="F = 1\n",
    ),
    "a private namesake of a public class": planted(
        init="from ._a import F as F\n", _a="class F: pass\n", theory___b="class F: pass\n"
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_word_of_two_owners_is_caught(name):
    assert [word.lower() for word in words_of_two_owners(PLANTED[name], "p")] == ["f"]


def test_a_name_exported_in_two_places_has_one_owner():
    source = planted(
        init="from .core import f as f\n",
        core="from ._a import f as f\n",
        core___a="def f(): pass\n",
        theory="from .core import f as f\n",
    )
    assert list(words_of_two_owners(source, "p")) == []


RENAMED = {
    "AbstractDynamics": "AbstractNeuronDynamics",
    "Agreement": "Confrontation",
    "Phases": "FieldPhases",
}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_works_with_a_warning(old):
    with pytest.warns(DeprecationWarning, match=f"{old} is now .*{RENAMED[old]}") as told:
        found = getattr(bx.meanfield, old)
    assert found is getattr(bx.meanfield, RENAMED[old]) and told[0].filename == __file__
    with warnings.catch_warnings(record=True) as told:
        exec(f"from boltzax.meanfield import {old}")
    assert {each.category for each in told} == {DeprecationWarning}
    assert old not in dir(bx.meanfield)
    with pytest.raises(AttributeError, match="no attribute 'Phase'"):
        _ = bx.meanfield.Phase


MOVED = {
    "meanfield.modular_addition": "modular_addition",
    "meanfield.ModularEnsemble": "ModularEnsemble",
    "theory.modular_addition": "modular_exact",
    "theory.ModularAddition": "ModularExact",
    "theory.curie_weiss": "curie_weiss",
}


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_name_works_with_a_warning(old):
    folder, _, name = old.partition(".")
    with pytest.warns(DeprecationWarning, match=f"{name} is now boltzax.cases.{MOVED[old]};"):
        found = getattr(getattr(bx, folder), name)
    assert found is getattr(bx.cases, MOVED[old])


def test_a_result_stored_under_an_old_name_is_found():
    from boltzax.report._save import found

    with pytest.warns(DeprecationWarning, match="FieldPhases"):
        assert found("boltzax.meanfield._phases:Phases") is bx.meanfield.FieldPhases
    assert found("boltzax.meanfield._phases:Nothing") is None
