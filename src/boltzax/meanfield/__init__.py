"""Mean field: neurons in the field that they make themselves."""

from ._background import Background as Background
from ._cumulant import AbstractCumulant as AbstractCumulant
from ._dynamics import AbstractDynamics as AbstractDynamics
from ._dynamics import Descent as Descent
from ._dynamics import Langevin as Langevin
from ._neuron import Neuron as Neuron
from ._neuron import Unit as Unit
from ._probe import Probe as Probe
from ._probe import probe as probe
from ._problem import AbstractEnsemble as AbstractEnsemble
from ._problem import SelfConsistency as SelfConsistency
from ._solve import FixedPoint as FixedPoint
from ._solve import Uniqueness as Uniqueness
from ._solve import solve as solve
from ._train import History as History
from ._train import Training as Training
from ._train import ride_along as ride_along
from ._train import train as train
