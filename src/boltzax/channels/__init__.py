"""Channels: how much one place of a net tells of another, what that costs, and what is screened."""

from ..core import exported as _exported
from ._canonical_spectrum import CanonicalSpectrum as CanonicalSpectrum
from ._canonical_spectrum import canonical_spectrum as canonical_spectrum
from ._channel import Channel as Channel
from ._channel_cost import ChannelCost as ChannelCost
from ._channel_cost import ChannelRegime as ChannelRegime
from ._channel_cost import channel_cost as channel_cost
from ._channel_coupling import ChannelCoupling as ChannelCoupling
from ._channel_coupling import CouplingSign as CouplingSign
from ._channel_coupling import channel_coupling as channel_coupling
from ._coupling_conditions import CouplingConditions as CouplingConditions
from ._covariance_spectrum import CovarianceSpectrum as CovarianceSpectrum
from ._covariance_spectrum import covariance_spectrum as covariance_spectrum
from ._data_interactions import DataInteractions as DataInteractions
from ._data_interactions import data_interactions as data_interactions
from ._ensemble_information import EnsembleInformation as EnsembleInformation
from ._ensemble_information import ensemble_information as ensemble_information
from ._far_field import FarField as FarField
from ._far_field import far_field as far_field
from ._gaussian_information import GaussianInformation as GaussianInformation
from ._gaussian_information import gaussian_information as gaussian_information
from ._information_ladder import InformationLadder as InformationLadder
from ._information_ladder import information_ladder as information_ladder
from ._jacobian_ranks import JacobianRanks as JacobianRanks
from ._jacobian_ranks import jacobian_ranks as jacobian_ranks
from ._jacobian_spectrum import JacobianSpectrum as JacobianSpectrum
from ._jacobian_spectrum import jacobian_spectrum as jacobian_spectrum
from ._label_response import label_response as label_response
from ._localization import LocalizationLength as LocalizationLength
from ._localization import localization_length as localization_length
from ._natural_latent import NaturalLatent as NaturalLatent
from ._natural_latent import natural_latent as natural_latent
from ._neighbour_information import NeighbourInformation as NeighbourInformation
from ._neighbour_information import neighbour_information as neighbour_information
from ._optimisation_bits import OptimisationBits as OptimisationBits
from ._optimisation_bits import bits_of_optimisation as bits_of_optimisation
from ._ranks import effective_rank as effective_rank
from ._ranks import participation_ratio as participation_ratio
from ._ranks import stable_rank as stable_rank
from ._read_taps import leading_components as leading_components
from ._read_taps import read_taps as read_taps
from ._regime import Regime as Regime
from ._regime import classify_regime as classify_regime
from ._screen import Screening as Screening
from ._screen import screen as screen
from ._training_success import training_success as training_success
from ._usable_information import UsableInformation as UsableInformation
from ._usable_information import usable_information as usable_information

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return __all__
