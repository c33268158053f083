"""Worked systems with exact answers: modular addition, superposition, the magnet, circuits."""

from ..core import exported as _exported
from ._chains import linear_channel as linear_channel
from ._chains import noisy_channel as noisy_channel
from ._chains import scalar_channel as scalar_channel
from ._components import affine_component as affine_component
from ._components import amplifier_component as amplifier_component
from ._components import gain_component as gain_component
from ._components import step_component as step_component
from ._coupled_channels import CoupledChannels as CoupledChannels
from ._coupled_channels import overlapping_channels as overlapping_channels
from ._coupled_channels import rival_channels as rival_channels
from ._coupled_channels import shared_wires as shared_wires
from ._curie_weiss import CurieWeiss as CurieWeiss
from ._curie_weiss import curie_weiss as curie_weiss
from ._curie_weiss import curie_weiss_spinodal as curie_weiss_spinodal
from ._disordered_chain import DisorderedChain as DisorderedChain
from ._disordered_chain import anderson_chain as anderson_chain
from ._disordered_chain import lloyd_chain as lloyd_chain
from ._exponential_process import ExponentialProcess as ExponentialProcess
from ._exponential_process import PoissonData as PoissonData
from ._exponential_process import exponential_process as exponential_process
from ._far_places import FarChannels as FarChannels
from ._far_places import FarPlaces as FarPlaces
from ._far_places import far_channels as far_channels
from ._far_places import far_places as far_places
from ._gains import gain_chain as gain_chain
from ._gains import gain_chain_evidence as gain_chain_evidence
from ._gates import gate as gate
from ._gates import planted_xor as planted_xor
from ._gates import xor_circuit as xor_circuit
from ._modular import ModularEnsemble as ModularEnsemble
from ._modular import ModularNet as ModularNet
from ._modular import ModularPrior as ModularPrior
from ._modular import ModularUnit as ModularUnit
from ._modular import modular_addition as modular_addition
from ._modular import modular_gibbs as modular_gibbs
from ._modular import modular_modes as modular_modes
from ._modular import modular_residual as modular_residual
from ._modular import modular_split as modular_split
from ._modular import modular_table as modular_table
from ._modular_exact import ModularExact as ModularExact
from ._modular_exact import modular_answer as modular_answer
from ._modular_exact import modular_exact as modular_exact
from ._modular_phases import ModularPhases as ModularPhases
from ._modular_phases import modular_phases as modular_phases
from ._modular_width import modular_width as modular_width
from ._planted_net import PLANTED_HEADS as PLANTED_HEADS
from ._planted_net import PlantedNet as PlantedNet
from ._planted_net import planted_kernel as planted_kernel
from ._planted_net import planted_net as planted_net
from ._planted_net import planted_temperatures as planted_temperatures
from ._superposition import SUPERPOSITION_PHASES as SUPERPOSITION_PHASES
from ._superposition import SuperpositionNet as SuperpositionNet
from ._superposition import superposition_polygon as superposition_polygon
from ._voltages import voltage_amplifier as voltage_amplifier
from ._voltages import voltage_chain as voltage_chain
from ._voltages import voltage_middles as voltage_middles
from ._voltages import voltage_net as voltage_net

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
