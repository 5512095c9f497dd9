"""chainrule: a deep-learning library with glass walls.

Every number of a network's forward and backward pass can be seen, and the same network, unchanged,
is compiled and trains at the speed of the machine.

Example:
    >>> import chainrule as cr
    >>> a, b, c = (cr.tensor(v, requires_grad=True) for v in (5.0, 3.0, 2.0))
    >>> J = 3 * (a + b * c)
    >>> J.backward()
    >>> J.item(), a.grad.item(), b.grad.item(), c.grad.item()
    (33.0, 3.0, 6.0, 9.0)
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

from .config import get_default_dtype as get_default_dtype
from .config import set_default_dtype as set_default_dtype
from .dtypes import DType as DType
from .dtypes import bool_ as bool_
from .dtypes import float32 as float32
from .dtypes import float64 as float64
from .dtypes import int32 as int32
from .dtypes import int64 as int64
from .dtypes import uint8 as uint8
from .dtypes import uint32 as uint32
from .errors import ChainruleError as ChainruleError
from .tensor._compile import compile as compile
from .tensor._create import arange as arange
from .tensor._create import as_tensor as as_tensor
from .tensor._create import empty as empty
from .tensor._create import empty_like as empty_like
from .tensor._create import eye as eye
from .tensor._create import from_numpy as from_numpy
from .tensor._create import full as full
from .tensor._create import full_like as full_like
from .tensor._create import linspace as linspace
from .tensor._create import ones as ones
from .tensor._create import ones_like as ones_like
from .tensor._create import zeros as zeros
from .tensor._create import zeros_like as zeros_like
from .tensor._device import device as device
from .tensor._functions import abs as abs
from .tensor._functions import add as add
from .tensor._functions import all as all
from .tensor._functions import amax as amax
from .tensor._functions import amin as amin
from .tensor._functions import any as any
from .tensor._functions import argmax as argmax
from .tensor._functions import argmin as argmin
from .tensor._functions import bmm as bmm
from .tensor._functions import cat as cat
from .tensor._functions import ceil as ceil
from .tensor._functions import chunk as chunk
from .tensor._functions import clamp as clamp
from .tensor._functions import clone as clone
from .tensor._functions import cos as cos
from .tensor._functions import div as div
from .tensor._functions import dot as dot
from .tensor._functions import eq as eq
from .tensor._functions import erf as erf
from .tensor._functions import exp as exp
from .tensor._functions import expm1 as expm1
from .tensor._functions import flatten as flatten
from .tensor._functions import flip as flip
from .tensor._functions import floor as floor
from .tensor._functions import gather as gather
from .tensor._functions import ge as ge
from .tensor._functions import gt as gt
from .tensor._functions import index_select as index_select
from .tensor._functions import is_tensor as is_tensor
from .tensor._functions import le as le
from .tensor._functions import log as log
from .tensor._functions import log1p as log1p
from .tensor._functions import log_softmax as log_softmax
from .tensor._functions import logical_and as logical_and
from .tensor._functions import logical_not as logical_not
from .tensor._functions import logical_or as logical_or
from .tensor._functions import logsumexp as logsumexp
from .tensor._functions import lt as lt
from .tensor._functions import masked_fill as masked_fill
from .tensor._functions import matmul as matmul
from .tensor._functions import max as max
from .tensor._functions import maximum as maximum
from .tensor._functions import mean as mean
from .tensor._functions import min as min
from .tensor._functions import minimum as minimum
from .tensor._functions import mm as mm
from .tensor._functions import mul as mul
from .tensor._functions import ne as ne
from .tensor._functions import neg as neg
from .tensor._functions import norm as norm
from .tensor._functions import numel as numel
from .tensor._functions import permute as permute
from .tensor._functions import pow as pow
from .tensor._functions import reciprocal as reciprocal
from .tensor._functions import relu as relu
from .tensor._functions import reshape as reshape
from .tensor._functions import sigmoid as sigmoid
from .tensor._functions import sign as sign
from .tensor._functions import sin as sin
from .tensor._functions import softmax as softmax
from .tensor._functions import softplus as softplus
from .tensor._functions import split as split
from .tensor._functions import sqrt as sqrt
from .tensor._functions import square as square
from .tensor._functions import squeeze as squeeze
from .tensor._functions import stack as stack
from .tensor._functions import std as std
from .tensor._functions import sub as sub
from .tensor._functions import sum as sum
from .tensor._functions import t as t
from .tensor._functions import tanh as tanh
from .tensor._functions import transpose as transpose
from .tensor._functions import unbind as unbind
from .tensor._functions import unsqueeze as unsqueeze
from .tensor._functions import var as var
from .tensor._functions import where as where
from .tensor._grad import enable_grad as enable_grad
from .tensor._grad import grad as grad
from .tensor._grad import inference_mode as inference_mode
from .tensor._grad import is_grad_enabled as is_grad_enabled
from .tensor._grad import no_grad as no_grad
from .tensor._grad import record as record
from .tensor._grad import set_grad_enabled as set_grad_enabled
from .tensor._random import Generator as Generator
from .tensor._random import default_generator as default_generator
from .tensor._random import manual_seed as manual_seed
from .tensor._random import rand as rand
from .tensor._random import rand_like as rand_like
from .tensor._random import randint as randint
from .tensor._random import randn as randn
from .tensor._random import randn_like as randn_like
from .tensor._random import randperm as randperm
from .tensor._scan import scan as scan
from .tensor._shape import Size as Size
from .tensor._tensor import Tensor as Tensor
from .tensor._tensor import tensor as tensor
from .tensor._trace import trace as trace

__version__ = "0.1.0"

bool = bool_
float = float32
double = float64
int = int32
long = int64
dtype = DType
pi, e, inf, nan = math.pi, math.e, math.inf, math.nan

# PyTorch's other names of the same functions.
absolute, negative, subtract, multiply, divide, true_divide = abs, neg, sub, mul, div, div
less, less_equal, greater, greater_equal, not_equal = lt, le, gt, ge, ne
clip, concat, concatenate, asarray = clamp, cat, cat, as_tensor

_ROOMS = frozenset(
    [
        "autodiff",
        "autograd",
        "backends",
        "cli",
        "cuda",
        "data",
        "diagnose",
        "engines",
        "explain",
        "functional",
        "graph",
        "io",
        "nn",
        "ops",
        "optim",
        "report",
        "train",
        "utils",
    ]
)
_MODULES = {
    "diagnose": "diagnose",
    "io": "load save",
    "tensor._arrange": (
        "argwhere atleast_1d atleast_2d broadcast_tensors broadcast_to column_stack diag "
        "diagonal diff fliplr flipud hstack index_add index_fill movedim narrow ravel "
        "repeat_interleave select swapaxes take take_along_dim tile unflatten vstack"
    ),
    "tensor._calculus": "check_grad hessian hvp jacobian",
    "tensor._einsum": "einsum",
    "tensor._function": "custom_op",
    "tensor._legacy": (
        "BoolTensor ByteTensor DoubleTensor FloatTensor IntTensor LongTensor detach finfo "
        "get_rng_state iinfo initial_seed is_floating_point logspace randint_like seed "
        "set_default_device set_default_tensor_type set_printoptions set_rng_state "
        "use_deterministic_algorithms"
    ),
    "tensor._more": (
        "allclose argsort bincount cumsum equal isfinite isinf isnan masked_select "
        "meshgrid multinomial nonzero outer prod roll scatter scatter_add sort topk tril triu"
    ),
    "tensor._pointwise": (
        "addcdiv addcmul clamp_max clamp_min cosh exp2 floor_divide fmod frac hypot isclose "
        "lerp log10 log2 logaddexp logical_xor logit nan_to_num remainder round rsqrt sinh "
        "tan trunc"
    ),
    "tensor._statistics": (
        "addmm addmv aminmax baddbmm bernoulli count_nonzero cumprod dist inner kthvalue "
        "median mv normal quantile std_mean tensordot unique var_mean"
    ),
    "tensor._vmap": "vmap",
    "train": "Run Trainer",
}
"""Public names that are imported when first named, by the module that has them."""
_LAZY = {name: module for module, names in _MODULES.items() for name in names.split()}

if TYPE_CHECKING:
    from . import nn as nn
    from . import optim as optim
    from .diagnose import diagnose as diagnose
    from .io import load as load
    from .io import save as save
    from .tensor._arrange import argwhere as argwhere
    from .tensor._arrange import atleast_1d as atleast_1d
    from .tensor._arrange import atleast_2d as atleast_2d
    from .tensor._arrange import broadcast_tensors as broadcast_tensors
    from .tensor._arrange import broadcast_to as broadcast_to
    from .tensor._arrange import column_stack as column_stack
    from .tensor._arrange import diag as diag
    from .tensor._arrange import diagonal as diagonal
    from .tensor._arrange import diff as diff
    from .tensor._arrange import fliplr as fliplr
    from .tensor._arrange import flipud as flipud
    from .tensor._arrange import hstack as hstack
    from .tensor._arrange import index_add as index_add
    from .tensor._arrange import index_fill as index_fill
    from .tensor._arrange import movedim as movedim
    from .tensor._arrange import narrow as narrow
    from .tensor._arrange import ravel as ravel
    from .tensor._arrange import repeat_interleave as repeat_interleave
    from .tensor._arrange import select as select
    from .tensor._arrange import swapaxes as swapaxes
    from .tensor._arrange import take as take
    from .tensor._arrange import take_along_dim as take_along_dim
    from .tensor._arrange import tile as tile
    from .tensor._arrange import unflatten as unflatten
    from .tensor._arrange import vstack as vstack
    from .tensor._calculus import check_grad as check_grad
    from .tensor._calculus import hessian as hessian
    from .tensor._calculus import hvp as hvp
    from .tensor._calculus import jacobian as jacobian
    from .tensor._einsum import einsum as einsum
    from .tensor._function import custom_op as custom_op
    from .tensor._legacy import BoolTensor as BoolTensor
    from .tensor._legacy import ByteTensor as ByteTensor
    from .tensor._legacy import DoubleTensor as DoubleTensor
    from .tensor._legacy import FloatTensor as FloatTensor
    from .tensor._legacy import IntTensor as IntTensor
    from .tensor._legacy import LongTensor as LongTensor
    from .tensor._legacy import detach as detach
    from .tensor._legacy import finfo as finfo
    from .tensor._legacy import get_rng_state as get_rng_state
    from .tensor._legacy import iinfo as iinfo
    from .tensor._legacy import initial_seed as initial_seed
    from .tensor._legacy import is_floating_point as is_floating_point
    from .tensor._legacy import logspace as logspace
    from .tensor._legacy import randint_like as randint_like
    from .tensor._legacy import seed as seed
    from .tensor._legacy import set_default_device as set_default_device
    from .tensor._legacy import set_default_tensor_type as set_default_tensor_type
    from .tensor._legacy import set_printoptions as set_printoptions
    from .tensor._legacy import set_rng_state as set_rng_state
    from .tensor._legacy import use_deterministic_algorithms as use_deterministic_algorithms
    from .tensor._more import allclose as allclose
    from .tensor._more import argsort as argsort
    from .tensor._more import bincount as bincount
    from .tensor._more import cumsum as cumsum
    from .tensor._more import equal as equal
    from .tensor._more import isfinite as isfinite
    from .tensor._more import isinf as isinf
    from .tensor._more import isnan as isnan
    from .tensor._more import masked_select as masked_select
    from .tensor._more import meshgrid as meshgrid
    from .tensor._more import multinomial as multinomial
    from .tensor._more import nonzero as nonzero
    from .tensor._more import outer as outer
    from .tensor._more import prod as prod
    from .tensor._more import roll as roll
    from .tensor._more import scatter as scatter
    from .tensor._more import scatter_add as scatter_add
    from .tensor._more import sort as sort
    from .tensor._more import topk as topk
    from .tensor._more import tril as tril
    from .tensor._more import triu as triu
    from .tensor._pointwise import addcdiv as addcdiv
    from .tensor._pointwise import addcmul as addcmul
    from .tensor._pointwise import clamp_max as clamp_max
    from .tensor._pointwise import clamp_min as clamp_min
    from .tensor._pointwise import cosh as cosh
    from .tensor._pointwise import exp2 as exp2
    from .tensor._pointwise import floor_divide as floor_divide
    from .tensor._pointwise import fmod as fmod
    from .tensor._pointwise import frac as frac
    from .tensor._pointwise import hypot as hypot
    from .tensor._pointwise import isclose as isclose
    from .tensor._pointwise import lerp as lerp
    from .tensor._pointwise import log2 as log2
    from .tensor._pointwise import log10 as log10
    from .tensor._pointwise import logaddexp as logaddexp
    from .tensor._pointwise import logical_xor as logical_xor
    from .tensor._pointwise import logit as logit
    from .tensor._pointwise import nan_to_num as nan_to_num
    from .tensor._pointwise import remainder as remainder
    from .tensor._pointwise import round as round
    from .tensor._pointwise import rsqrt as rsqrt
    from .tensor._pointwise import sinh as sinh
    from .tensor._pointwise import tan as tan
    from .tensor._pointwise import trunc as trunc
    from .tensor._statistics import addmm as addmm
    from .tensor._statistics import addmv as addmv
    from .tensor._statistics import aminmax as aminmax
    from .tensor._statistics import baddbmm as baddbmm
    from .tensor._statistics import bernoulli as bernoulli
    from .tensor._statistics import count_nonzero as count_nonzero
    from .tensor._statistics import cumprod as cumprod
    from .tensor._statistics import dist as dist
    from .tensor._statistics import inner as inner
    from .tensor._statistics import kthvalue as kthvalue
    from .tensor._statistics import median as median
    from .tensor._statistics import mv as mv
    from .tensor._statistics import normal as normal
    from .tensor._statistics import quantile as quantile
    from .tensor._statistics import std_mean as std_mean
    from .tensor._statistics import tensordot as tensordot
    from .tensor._statistics import unique as unique
    from .tensor._statistics import var_mean as var_mean
    from .tensor._vmap import vmap as vmap
    from .train import Run as Run
    from .train import Trainer as Trainer


def __getattr__(name: str) -> Any:
    """Rooms that are not needed for ``import chainrule`` are imported when first named."""
    if name in _LAZY:
        found = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = found
        return found
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_ROOMS})
