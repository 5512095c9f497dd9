"""Schedules of the learning rate, under PyTorch's names."""

from __future__ import annotations

from ._cycles import ChainedScheduler as ChainedScheduler
from ._cycles import CyclicLR as CyclicLR
from ._cycles import OneCycleLR as OneCycleLR
from ._cycles import ReduceLROnPlateau as ReduceLROnPlateau
from ._cycles import SequentialLR as SequentialLR
from ._schedules import ConstantLR as ConstantLR
from ._schedules import CosineAnnealingLR as CosineAnnealingLR
from ._schedules import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from ._schedules import ExponentialLR as ExponentialLR
from ._schedules import LambdaLR as LambdaLR
from ._schedules import LinearLR as LinearLR
from ._schedules import LRScheduler as LRScheduler
from ._schedules import MultiplicativeLR as MultiplicativeLR
from ._schedules import MultiStepLR as MultiStepLR
from ._schedules import PolynomialLR as PolynomialLR
from ._schedules import StepLR as StepLR
