"""Values shared by every layer: estimates, statuses, errors, pytree tools. No domain words."""

from . import _functions as _functions
from ._arguments import Arrays as Arrays
from ._arguments import Constraint as Constraint
from ._arguments import Count as Count
from ._arguments import Fraction as Fraction
from ._arguments import Key as Key
from ._arguments import Model as Model
from ._arguments import NonNegative as NonNegative
from ._arguments import Number as Number
from ._arguments import Positive as Positive
from ._arguments import Probability as Probability
from ._arguments import Refused as Refused
from ._arguments import Said as Said
from ._arguments import Whole as Whole
from ._arguments import got as got
from ._arguments import integer as integer
from ._arguments import real as real
from ._arguments import scalar as scalar
from ._arguments import whole as whole
from ._constraints import ANYTHING as ANYTHING
from ._constraints import WORDS as WORDS
from ._constraints import constraint_of as constraint_of
from ._constraints import numbers as numbers
from ._constraints import public_name as public_name
from ._curve import Curve as Curve
from ._errors import DeclarationError as DeclarationError
from ._estimate import Estimate as Estimate
from ._estimate import combined as combined
from ._influence import Influence as Influence
from ._intervals import normal_quantile as normal_quantile
from ._intervals import student_factor as student_factor
from ._intervals import wilson as wilson
from ._mean import mean_estimate as mean_estimate
from ._memory import MEMORY as MEMORY
from ._memory import check_memory as check_memory
from ._memory import map_within as map_within
from ._memory import share as share
from ._memory import stored_bytes as stored_bytes
from ._memory import working_bytes as working_bytes
from ._model_errors import model_errors as model_errors
from ._names import exported as exported
from ._names import renamed as renamed
from ._outcome import POWER as POWER
from ._outcome import POWER_QUANTILE as POWER_QUANTILE
from ._outcome import Outcome as Outcome
from ._outcome import outcome_of as outcome_of
from ._parts import estimate_of_parts as estimate_of_parts
from ._precision import FULL as FULL
from ._precision import full_products as full_products
from ._precision import shortened as shortened
from ._reader import LIBRARIES as LIBRARIES
from ._reader import Reader as Reader
from ._reader import in_library as in_library
from ._reader import name_of as name_of
from ._series import check_real as check_real
from ._series import check_unmasked as check_unmasked
from ._sharding import automatic as automatic
from ._sharding import automatic_mesh as automatic_mesh
from ._sharding import to_host as to_host
from ._status import RunError as RunError
from ._status import Status as Status
from ._tracing import as_argument as as_argument
from ._tracing import at_hand as at_hand
from ._tracing import at_once as at_once
from ._tracing import check_on_host as check_on_host
from ._tracing import eager as eager
from ._tracing import finite as finite
from ._tracing import known as known
from ._tracing import library as library
from ._tracing import refuted as refuted
from ._trees import is_weight as is_weight
from ._trees import matches as matches
from ._trees import path_name as path_name
from ._trees import settings_of as settings_of
from ._trees import state_of as state_of
from ._trees import weights_of as weights_of
from ._trees import with_weights as with_weights
from ._typing import TYPED as TYPED
from ._typing import described as described
from ._typing import typed as typed

__all__ = exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
