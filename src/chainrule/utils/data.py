"""The names of `chainrule.data` under PyTorch's path, `utils.data`.

>>> from chainrule.utils.data import DataLoader, TensorDataset
>>> import chainrule as cr
>>> DataLoader is cr.data.DataLoader
True
"""

from ..data import *  # noqa: F403
