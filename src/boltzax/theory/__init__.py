"""Exact answers, each with its citation: learning coefficients, free energies, spectral decay."""

from ..core import exported as _exported
from ..core import renamed as _renamed
from ._chain_costs import gaussian_chain_bits as gaussian_chain_bits
from ._chain_costs import gaussian_chain_rate as gaussian_chain_rate
from ._gaussian_chains import chain_participation as chain_participation
from ._gaussian_chains import lyapunov_spectrum as lyapunov_spectrum
from ._gaussian_exact import linear_unit_exact as linear_unit_exact
from ._gaussian_exact import quadratic_exact as quadratic_exact
from ._gaussian_information import InformationLaw as InformationLaw
from ._gaussian_information import information_law as information_law
from ._interface_entropies import affine_interface as affine_interface
from ._interface_entropies import amplifier_interface as amplifier_interface
from ._interface_entropies import linear_chain_maximum as linear_chain_maximum
from ._interface_entropies import linear_interface as linear_interface
from ._interface_entropies import step_interface as step_interface
from ._learning_coefficient import LearningCoefficient as LearningCoefficient
from ._learning_coefficient import direct_sum as direct_sum
from ._learning_coefficient import product as product
from ._linear_mean_field import LinearMeanField as LinearMeanField
from ._linear_mean_field import linear_mean_field as linear_mean_field
from ._linear_networks import deep_linear as deep_linear
from ._linear_networks import psd_factorization as psd_factorization
from ._linear_networks import reduced_rank as reduced_rank
from ._localization import anderson_exponent as anderson_exponent
from ._localization import averaged_screening as averaged_screening
from ._localization import lloyd_exponent as lloyd_exponent
from ._localization import screening_exponent as screening_exponent
from ._marchenko_pastur import largest_eigenvalue_p_value as largest_eigenvalue_p_value
from ._marchenko_pastur import marchenko_pastur_density as marchenko_pastur_density
from ._marchenko_pastur import marchenko_pastur_edges as marchenko_pastur_edges
from ._marchenko_pastur import outlier_of_spike as outlier_of_spike
from ._marchenko_pastur import spike_of_outlier as spike_of_outlier
from ._normal_crossing import homogeneous as homogeneous
from ._normal_crossing import normal_crossing as normal_crossing
from ._normal_crossing import regular as regular
from ._normal_crossing_exact import normal_crossing_exact as normal_crossing_exact
from ._quadrature import exact_free_energy as exact_free_energy
from ._result import ExactFreeEnergy as ExactFreeEnergy
from ._spectral_decay import KINKS as KINKS
from ._spectral_decay import POLES as POLES
from ._spectral_decay import circle_half_width as circle_half_width
from ._spectral_decay import fourier_slope as fourier_slope
from ._spectral_decay import hermite_ensemble_log_decay as hermite_ensemble_log_decay
from ._spectral_decay import hermite_slope as hermite_slope
from ._spectral_decay import legendre_slope as legendre_slope
from ._spectral_decay import power_law_exponent as power_law_exponent
from ._squared_traces import squared_traces as squared_traces
from ._survival import ExactSurvival as ExactSurvival
from ._survival import circuit_survival as circuit_survival
from ._survival import circuit_temperature as circuit_temperature
from ._survival import linear_survival as linear_survival
from ._survival import linear_temperature as linear_temperature
from ._tanh_hermite import tanh_hermite_asymptotic as tanh_hermite_asymptotic
from ._tanh_hermite import tanh_hermite_coefficient as tanh_hermite_coefficient
from ._tanh_hermite import tanh_hermite_log_magnitude as tanh_hermite_log_magnitude
from ._tanh_zero_target import tanh_zero_exact as tanh_zero_exact
from ._tracy_widom import tracy_widom as tracy_widom
from ._vandermonde import gaussian_mixture as gaussian_mixture
from ._vandermonde import tanh_network as tanh_network
from ._vandermonde import vandermonde as vandermonde
from ._wachter import correlation_of_outlier as correlation_of_outlier
from ._wachter import detectable_correlation as detectable_correlation
from ._wachter import largest_correlation_p_value as largest_correlation_p_value
from ._wachter import outlier_of_correlation as outlier_of_correlation
from ._wachter import wachter_density as wachter_density
from ._wachter import wachter_edges as wachter_edges

__all__ = _exported(globals())
__getattr__ = _renamed(
    globals(),
    CurieWeiss="boltzax.cases.CurieWeiss",
    ModularAddition="boltzax.cases.ModularExact",
    ModularPhases="boltzax.cases.ModularPhases",
    curie_weiss="boltzax.cases.curie_weiss",
    curie_weiss_spinodal="boltzax.cases.curie_weiss_spinodal",
    modular_addition="boltzax.cases.modular_exact",
    modular_answer="boltzax.cases.modular_answer",
    modular_phases="boltzax.cases.modular_phases",
)


def __dir__() -> list[str]:
    return list(__all__)
