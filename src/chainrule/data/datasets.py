"""Data sets with torchvision's names, read from files on disk; nothing is downloaded.

>>> import chainrule.data.datasets as dsets
>>> dsets.MNIST.__name__
'MNIST'
"""

from __future__ import annotations

from ._images import ImageFolder as ImageFolder
from ._images import load_image as load_image
from ._mnist import KMNIST as KMNIST
from ._mnist import MNIST as MNIST
from ._mnist import FashionMNIST as FashionMNIST
from ._sounds import SoundFolder as SoundFolder
