"""Algorithms of blackjax as kernels, against closed forms."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import boltzax as bx
from boltzax.sample import AbstractUnadjusted, Chains, Move, Plan, fingerprint
from boltzax.testing import check_dynamics, check_kernel, check_stochastic_kernel
from boltzax.testing._conformance import gaussian_target

KEY = jax.random.key(7)
X = np.linspace(-1.0, 1.0, 8)[:, None]
Y = 0.5 + X[:, 0]


def line(w, x):
    return w[0] * x[0] + w[1]


def linear(beta=1.0):
    """`E = ½ Σ (w·(x, 1) - y)²`, prior N(0, 1)."""
    energy = bx.SquaredError(bx.models.Function(line, jnp.zeros(2)), bx.Empirical((X, Y)))
    return bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)


def evidence(betas):
    """`-log Z(β)` of `linear`: `½ log det(I + βXᵀX) + ½ β yᵀ(I + βXXᵀ)⁻¹y`."""
    rows = np.hstack([X, np.ones_like(X)])
    wide = [np.eye(8) + b * rows @ rows.T for b in betas]
    return np.array([
        0.5 * np.linalg.slogdet(a)[1] + 0.5 * b * Y @ np.linalg.solve(a, Y)
        for a, b in zip(wide, betas)
    ])  # fmt: skip


def kernel(name, **options):
    return bx.Blackjax(vars(blackjax)[name], **options)


ALGORITHMS = [
    ("nuts", {}),
    ("mala", {}),
    ("barker", {}),
    ("mclmc", {"scale": 0.5}),
    ("adjusted_mclmc", {"num_integration_steps": 5}),
    ("adjusted_mclmc_dynamic", {}),
    ("dhmc", {}),
    ("mhmc", {"num_integration_steps": 5}),
    ("ghmc", {"momentum_inverse_scale": jnp.ones(4), "alpha": 0.7, "delta": 0.3}),
    ("slice_sampling", {}),
    ("gist_step_size", {"initial_step_size": 0.5}),
    ("mclmc", {"L": 1.0, "step_size": 0.2}),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, options", ALGORITHMS)
def test_an_algorithm_conforms(name, options):
    check_kernel(kernel(name, **options), key=KEY, draws=2000)


@pytest.mark.slow
def test_microcanonical_dynamics_is_right_at_step_zero():
    check_stochastic_kernel(kernel("mclmc"), key=KEY, minibatches=False, thin=1)


@pytest.mark.parametrize(
    "name", ["mala", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mclmc", "dhmc"))]
)
def test_a_run_is_cut_resumed_and_streamed(name):
    """And a second one compiles nothing; `dhmc` keeps a random key in its state."""
    chains = Chains(linear(), kernel(name), True)
    check_dynamics(chains, {"params": jnp.ones((2, 2))}, key=KEY)


def test_the_energy_of_a_linear_model():
    """`⟨E⟩ = ½ (tr(XᵀX C) + |Xm - y|²)`, from draws of two temperatures at once."""
    betas = np.array([0.5, 4.0])
    trace = bx.sample(
        linear().at(betas), kernel("mala"), key=KEY, warmup=300, draws=1000, thin=4, throw=False
    )
    rows, exact = np.hstack([X, np.ones_like(X)]), []
    for beta in betas:
        covariance = np.linalg.inv(np.eye(2) + beta * rows.T @ rows)
        mean = beta * covariance @ rows.T @ Y
        spread = np.trace(rows.T @ rows @ covariance)
        exact.append(0.5 * (spread + np.sum((rows @ mean - Y) ** 2)))
    energy = trace.mean_of(trace.energy)
    assert np.all(np.abs(energy.z_score(np.array(exact))) < 4)
    assert np.all(np.asarray(energy.standard_error) < 0.05 * np.array(exact))
    # one gradient a step, of the warm-up too, and one record every four
    steps = 300 + 4 * np.arange(1, 1001)
    assert np.array_equal(trace.gradients[0, 0], steps)


@pytest.mark.slow
@pytest.mark.parametrize("by, name", [("replica_exchange", "nuts"), ("smc", "barker")])
def test_the_free_energy_of_a_linear_model(by, name):
    betas = np.array([1.0, 10.0])
    run = bx.anneal(linear(), betas, kernel(name), key=KEY, by=by, warmup=300, draws=400, thin=12)
    free = bx.free_energy(run)
    assert np.all(np.abs(free.z_score(evidence(betas))) < 4)
    assert np.all(np.asarray(free.standard_error) < 0.2)


@pytest.mark.slow
def test_a_local_learning_coefficient_without_a_metropolis_test():
    """`λ̂ = ½ Σ βk/(βk + γ)` at the minimum, `k` the curvatures of the energy, `β = 1/log n`."""
    rows = np.random.default_rng(0).normal(size=(200, 4))
    answer = rows @ np.ones(4) + np.cos(7 * rows[:, 0])
    model = bx.models.Function(jnp.dot, jnp.asarray(np.linalg.lstsq(rows, answer)[0]))
    energy = bx.SquaredError(model, bx.Empirical((rows, answer)))
    found = bx.local_learning_coefficient(
        energy, kernel=kernel("mclmc"), key=KEY, max_gradients=200_000
    )
    stiff = np.linalg.eigvalsh(rows.T @ rows) / np.log(200)
    assert (
        found.verdict == bx.Verdict.usable
        and abs(found.estimate.z_score(0.5 * np.sum(stiff / (stiff + 1)))) < 4
    )


@pytest.mark.parametrize(
    "name, options, gradients",
    [
        ("mclmc", {}, 2),  # McLachlan's integrator looks twice
        ("mclmc", {"integrator": blackjax.mcmc.integrators.isokinetic_velocity_verlet}, 1),
        ("hmc", {"num_integration_steps": 3}, 3),
        ("hmc", {"num_integration_steps": 3, "integrator": blackjax.mcmc.integrators.yoshida}, 9),
        ("slice_sampling", {}, 0),
    ],
)
def test_gradients_are_counted(name, options, gradients):
    assert step(linear(), kernel(name, **options)).gradients == gradients


def step(gibbs, kernel, gain=0.0) -> Move:
    w = gibbs.sample_prior(KEY)

    @jax.jit
    def once(w):
        return kernel.step(gibbs, kernel.init(gibbs, w, KEY, 0), KEY, jnp.asarray(gain), 0)[1]

    return once(w)


def test_what_is_found_in_warmup():
    """Steps and masses that are left out are learned while the gain is positive."""
    gibbs, _, covariance = gaussian_target()
    for chosen in (kernel("hmc", num_integration_steps=3), kernel("mclmc")):
        names = chosen.algorithm.learned
        assert set(names) <= {"step_size", "inverse_mass_matrix", "L"}

        @jax.jit
        def last(key, chosen=chosen):
            state = chosen.init(gibbs, gibbs.sample_prior(key), key, 1000)

            def one(state, time):
                gain = (1.0 + time) ** -0.6
                key_step = jax.random.fold_in(key, time)
                return chosen.step(gibbs, state, key_step, gain, 1000)[0], None

            return jax.lax.scan(one, state, jnp.arange(1000))[0].tuning

        tunings = jax.vmap(last)(jax.random.split(KEY, 16))
        variance = jax.vmap(lambda tree: ravel_pytree(tree)[0])(tunings.variance)
        np.testing.assert_allclose(np.mean(variance, 0), np.diag(covariance), rtol=0.3)
        assert np.all(np.exp(tunings.log_step) > 0.05)
    given = kernel("nuts", step_size=0.1, inverse_mass_matrix=jnp.ones(3))
    assert given.algorithm.learned == ()
    assert given.init(gibbs, gibbs.sample_prior(KEY), KEY, 10).tuning is None


def test_which_kernel_has_a_metropolis_test():
    unadjusted = kernel("mclmc", scale=0.5)
    assert isinstance(unadjusted, AbstractUnadjusted)
    assert (unadjusted.scale, unadjusted.order) == (0.5, 2)
    assert not isinstance(kernel("adjusted_mclmc_dynamic"), AbstractUnadjusted)
    one = bx.models.Function(lambda w, x: w * x[0], jnp.zeros(()))
    energy = bx.SquaredError(one, bx.Empirical((X, Y)))
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    with pytest.raises(bx.DeclarationError, match="two coordinates"):
        bx.sample(gibbs, unadjusted, key=KEY, draws=4)


def silent(logdensity_fn):
    """An algorithm that does not say whether it accepts."""
    base = blackjax.additive_step_random_walk.normal_random_walk(logdensity_fn, jnp.eye(2))

    def step(key, state):
        state, info = base.step(key, state)
        return state, blackjax.mcmc.slice.SliceState(info.proposal.position, 0.0)

    return blackjax.SamplingAlgorithm(base.init, step)


def masses(given):
    return kernel("hmc", num_integration_steps=2, step_size=0.5, inverse_mass_matrix=given)


REFUSED = [
    (lambda: bx.Blackjax(blackjax.sgld), "logdensity_fn"),
    (lambda: bx.Blackjax(blackjax.mgrad_gaussian), "samples a log-density"),
    (lambda: bx.Blackjax(blackjax.orbital_hmc), "samples a log-density"),
    (lambda: bx.Blackjax(blackjax.pathfinder), "samples a log-density"),
    (lambda: bx.Blackjax(blackjax.tempered_smc), "populations"),
    (lambda: bx.Blackjax(len), "samples a log-density"),
    (lambda: bx.Blackjax(3), "algorithm"),
    (lambda: kernel("hmc"), "num_integration_steps"),
    (lambda: kernel("nuts", trajectory=3), "trajectory"),
    (lambda: kernel("hmc", num_integration_steps=5.0), "num_integration_steps"),
    (lambda: kernel("nuts", max_num_doublings=0), "max_num_doublings"),
    (lambda: kernel("nuts", inverse_mass_matrix="a"), "inverse_mass_matrix"),
    (lambda: kernel("nuts", inverse_mass_matrix=[1.0, -1.0]), "inverse_mass_matrix"),
    (lambda: kernel("slice_sampling", width="a"), "width"),
    (lambda: bx.sample(linear(), masses(np.ones(5)), key=KEY, draws=4), "inverse_mass_matrix"),
    (lambda: bx.sample(linear(), masses(1.0), key=KEY, draws=4), "inverse_mass_matrix"),
    (lambda: kernel("nuts", step_size=-1.0), "step_size"),
    (lambda: kernel("slice_sampling", step_size=1.0), "step_size"),
    (lambda: kernel("nuts", scale=0.5), "scale"),
    (lambda: kernel("mclmc", target_acceptance=0.5), "target_acceptance"),
    (lambda: bx.sample(linear(), bx.Blackjax(silent), key=KEY, draws=4), "acceptance_rate"),
]


@pytest.mark.parametrize("make, match", REFUSED)
def test_what_cannot_be_a_kernel_is_refused(make, match):
    with pytest.raises(bx.DeclarationError, match=match):
        make()


def test_masses_may_be_a_list():
    drawn = [
        bx.sample(linear(), masses(given), key=KEY, warmup=2, draws=4, throw=False)
        for given in ([1, 2], np.array([1.0, 2.0]), (1.0, 2.0))
    ]
    for other in drawn[1:]:
        np.testing.assert_array_equal(other.energy, drawn[0].energy)


def test_a_fingerprint_names_the_algorithm():
    def found(chosen):
        chains = Chains(linear(), chosen, True)
        plan = Plan(chains, {"params": jnp.ones((2, 2))}, KEY, 3, 1, 2, 4, None)
        return fingerprint(plan)

    one, other, third = (found(kernel(n)) for n in ("nuts", "mala", "mala"))
    assert other == third and one != other
    assert other["made by blackjax"] == blackjax.__version__
    assert found(kernel("mala", step_size=0.1)) != found(kernel("mala", step_size=0.2))


@pytest.mark.parametrize(
    "name, options, most",
    [
        ("mala", {}, 1),
        ("nuts", {"max_num_doublings": 4}, 15),
        ("hmc", {"num_integration_steps": 6}, 6),
        ("adjusted_mclmc", {"num_integration_steps": 6}, 12),
        ("mclmc", {}, 2),
        ("adjusted_mclmc", {"integration_steps_params": (6,)}, 12),
        ("dynamic_hmc", {}, 9),  # of blackjax: uniform from 1 to 9
        (
            "dhmc",
            {
                "integration_steps_fn": lambda key, most: jax.random.randint(key, (), 1, most + 1),
                "integration_steps_params": (20,),
            },
            20,
        ),
        ("adjusted_mclmc_dynamic", {}, 18),
        (
            "gist_step_size",
            {"initial_step_size": 0.5, "num_integration_steps": 2, "max_search_steps": 3},
            18,
        ),
        ("gist_trajectory_length", {"max_num_steps": 30}, 60),
        ("slice_sampling", {}, np.inf),
        ("coordinate_slice", {}, np.inf),
    ],
)
def test_the_cost_of_a_step(name, options, most):
    chosen = kernel(name, **options)
    assert chosen.cost().most == most
    gibbs = linear()

    @jax.jit
    @jax.vmap
    def gradients(key):
        state = chosen.init(gibbs, gibbs.position(), key, 0)
        return chosen.step(gibbs, state, key, jnp.zeros(()), 0)[1].gradients

    taken = gradients(jax.random.split(KEY, 32))
    assert np.max(taken) <= most
    random = ("nuts", "dhmc", "dynamic_hmc", "adjusted_mclmc_dynamic", "gist_trajectory_length")
    assert (np.ptp(taken) > 0) == (name in random)  # told as they were


def test_a_sampler_whose_cost_is_unknown_has_no_budget():
    energy = bx.SquaredError(bx.models.Function(line, jnp.ones(2)), bx.Empirical((X, Y)))
    with pytest.raises(bx.DeclarationError, match="max_gradients") as caught:
        bx.local_learning_coefficient(energy, kernel=kernel("slice_sampling"), key=KEY)
    assert caught.value.argument == "kernel"
