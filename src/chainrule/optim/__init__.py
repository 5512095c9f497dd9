"""Optimizers: PyTorch's names, settings and state, written as graph code."""

from __future__ import annotations

from . import lr_scheduler as lr_scheduler
from ._adam import Adam as Adam
from ._adam import AdamW as AdamW
from ._adam_relatives import Adamax as Adamax
from ._adam_relatives import NAdam as NAdam
from ._adam_relatives import RAdam as RAdam
from ._adaptive import Adadelta as Adadelta
from ._adaptive import Adagrad as Adagrad
from ._adaptive import RMSprop as RMSprop
from ._adaptive import Rprop as Rprop
from ._lbfgs import LBFGS as LBFGS
from ._lbfgs import ConjugateGradient as ConjugateGradient
from ._newton import GaussNewton as GaussNewton
from ._newton import LevenbergMarquardt as LevenbergMarquardt
from ._newton import Newton as Newton
from ._optimizer import Optimizer as Optimizer
from ._sgd import SGD as SGD
from ._spectrum import HessianProduct as HessianProduct
from ._spectrum import hessian_spectrum as hessian_spectrum
