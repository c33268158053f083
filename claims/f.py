"""Localisation and screening: on which data a prediction depends."""

import math

import numpy as np
from hypothesis import strategies as st

import boltzax as bx
from boltzax import cases, channels, theory
from boltzax.testing import Claim

from ._row import LOCALIZATION, Row


def lloyd(case, *, key, effort):
    """Lyapunov exponent of a chain with Cauchy energies, over Lloyd's."""
    energy, width = case
    found = channels.localization_length(
        cases.lloyd_chain(energy, width),
        key=key,
        chains=128,
        sites=8192 * effort,
        warmup=128,
        tolerance=0.003,
    )
    return found.exponent / theory.lloyd_exponent(energy, width)


def anderson(disorder, *, key, effort):
    """The localisation length at the band centre, times W²/105.045."""
    found = channels.localization_length(
        cases.anderson_chain(0.0, disorder), key=key, chains=256, sites=4096 * effort, warmup=512
    )
    return disorder**2 / 105.045 / found.exponent


def process(seed, density=5.0, mean=0.0, noise=0.2, size=6.0):
    """A Gaussian process of length 1 on random data."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, size, rng.poisson(density * size)))
    prior = np.linalg.cholesky(np.exp(-np.abs(x[:, None] - x)) + 1e-9 * np.eye(len(x)))
    y = mean + prior @ rng.normal(size=len(x)) + noise**0.5 * rng.normal(size=len(x))
    return cases.exponential_process(x, y, length=1.0, noise_variance=noise)


def far_response(seed, *, key, effort):
    """The largest response of a prediction to a label more than 2 away, over the largest."""
    data = process(seed)
    response = data.response(np.array([3.0]))[0]
    far = np.abs(data.x - 3.0) > 2
    return bx.Estimate.exact(np.max(response[far], initial=0) / np.max(response))


def response_is_covariance(seed, *, key, effort):
    """The response measured in draws, less the exact derivative; the largest is about 0.5."""
    data = process(seed)
    gibbs, energy, inputs = data.gibbs(np.array([3.0]))
    trace = bx.sample(gibbs, key=key, draws=8000 * effort)
    found = channels.label_response(trace, energy, lambda model: model(inputs[0]))
    return found - data.response(np.array([3.0]))[0]


def screened(radius, *, key, effort):
    """Change of a prediction if the data beyond a radius are averaged, in posterior sd."""
    sd = np.array([process(k).covariance(*[np.array([3.0])] * 2)[0, 0] ** 0.5 for k in range(40)])
    change = [process(k).screened(3.0, np.array([radius]), "average")[0] for k in range(40)]
    return bx.Estimate.of_samples(np.abs(change) / sd)


def screening_rate(density, *, key, effort):
    """Rate at which the change falls with the radius, over the exponent of the disordered data."""
    radii, ends = np.linspace(0.3, 1.8, 6), range(200 * effort)
    logs = [
        np.log(np.abs(process(k, density, noise=1.0, size=5.0).screened(0.0, radii, "average")))
        for k in ends
    ]
    slopes = bx.Estimate.of_replicates(-np.polyfit(radii, np.array(logs).T, 1)[0])
    return slopes / theory.screening_exponent(density, 1.0, 1.0)


def averaging(mean, *, key, effort):
    """Mean of log |change by dropping| - log |change by averaging| at radius 0.6."""
    at = np.array([0.6])
    gain = [
        np.log(np.abs(data.screened(0.0, at, "drop") / data.screened(0.0, at, "average")))[0]
        for data in (process(k, 20.0, mean, 1.0, 5.0) for k in range(200 * effort))
    ]
    return bx.Estimate.of_samples(np.array(gain))


def correlation(seed, *, key, effort):
    """Squared correlation of the losses of data more than 2 apart."""
    data = process(seed)
    gibbs, energy, _ = data.gibbs(np.array([3.0]))
    trace = bx.sample(gibbs, key=key, draws=500 * effort)
    decay = channels.data_interactions(trace, energy).decay
    return decay.values[np.asarray(decay.x) > 2]


def range_of_interactions(density, *, key, effort):
    """1 over the rate at which typical correlations of losses fall with the distance, times γ.

    `Cov(ℓ_i, ℓ_j) = (C²/2 + r_i r_j C)/s⁴` of a Gaussian, C the covariance of the predictions and r
    their residuals: one rate for each of many sets of data.
    """
    rates = []
    for data in (process(k, density) for k in range(50 * effort)):
        covariance = data.covariance(data.x, data.x)
        residual = data.mean(data.x) - data.y
        losses = covariance**2 / 2 + np.outer(residual, residual) * covariance
        apart = np.abs(data.x[:, None] - data.x)
        chosen = (apart > 0.3) & (apart < 1.8)
        size = np.sqrt(np.outer(np.diag(losses), np.diag(losses)))
        logs = np.log(np.abs(losses / size)[chosen])
        rates.append(-np.polyfit(apart[chosen], logs, 1)[0])
    rate = bx.Estimate.of_replicates(np.array(rates))
    return theory.screening_exponent(density, 1.0, 0.2) / rate


ROWS = [
    Row("F1", Claim(
        "In one dimension all states are localised: with Cauchy disorder the exponent is Lloyd's"
        " within 3%",
        "P. Lloyd, J. Phys. C 2 (1969) 1717", st.tuples(st.floats(0, 3), st.floats(0.5, 3)), lloyd,
        low=0.97, high=1.03,
    ), "screening"),
    Row("F1b", Claim(
        "At the band centre the localisation length is 105.045/W², within 5%",
        "M. Kappus and F. Wegner, Z. Phys. B 45 (1981) 15", [1.0], anderson, low=0.95, high=1.05,
    ), "screening"),
    Row("F2", Claim(
        "Local perturbations perturb locally: the response to a label two lengths away is less "
        "than a hundredth of the largest",
        LOCALIZATION, st.integers(0, 999), far_response, low=-math.inf,
        high=0.01,
    ), "screening", cases=10),
    Row("F2b", Claim(
        "The response of a prediction to the labels is a posterior covariance over the noise, "
        "within 0.05",
        "R. Kubo, J. Phys. Soc. Japan 12 (1957) 570", [0], response_is_covariance, low=-0.05,
        high=0.05,
    ), "screening", missing="nets: tests move a label and sample again"),
    Row("F3", Claim(
        "Far data can be replaced by their average: beyond a radius of 1.5 lengths the "
        "prediction moves by less than a tenth of its posterior standard deviation in the mean",
        LOCALIZATION, [1.5, 2.0], screened, low=-math.inf, high=0.1,
    ), "screening"),
    Row("F3b", Claim(
        "The error falls with the radius at the Lyapunov exponent of the data, within 15%",
        LOCALIZATION, [20.0], screening_rate, low=0.85, high=1.15,
    ), "screening"),
    Row("F3c", Claim(
        "Averaging the far data beats dropping them by a factor of 2 or more (log 2 = 0.69), "
        "whatever the mean of the labels",
        f"a reading of {LOCALIZATION}", [3.0, 0.0], averaging, low=0.693,
    ), "refuted_others", "refuted"),
    Row("F4", Claim(
        "Data interact at short range only: the squared correlation of the losses of data more "
        "than two lengths apart is less than 0.01",
        LOCALIZATION, [0], correlation, low=-math.inf, high=0.01,
    ), "screening", missing="nets: examples/screening.py"),
    Row("F4b", Claim(
        "The range of the interactions is the screening length 1/γ of the data, within a factor "
        "of 2: exact correlations, over many sets of data",
        LOCALIZATION, [5.0], range_of_interactions, low=0.5, high=2.0,
    ), "screening"),
]  # fmt: skip
