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

_ROOMS = frozenset(
    [
        "autodiff",
        "autograd",
        "cli",
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
_LAZY = {
    "Trainer": "train",
    "Run": "train",
    "diagnose": "diagnose",
    "custom_op": "tensor._function",
    "check_grad": "tensor._calculus",
    "hessian": "tensor._calculus",
    "hvp": "tensor._calculus",
    "jacobian": "tensor._calculus",
    "vmap": "tensor._vmap",
    "save": "io",
    "load": "io",
}

if TYPE_CHECKING:
    from . import nn as nn
    from . import optim as optim


def __getattr__(name: str) -> Any:
    """Rooms that are not needed for ``import chainrule`` are imported when first named."""
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
