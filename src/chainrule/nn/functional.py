"""The functions of `chainrule.functional` under PyTorch's name for them."""

from ..functional import *  # noqa: F403
