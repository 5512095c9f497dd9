"""torchvision's two namespaces that chainrule has."""

from __future__ import annotations

from ....data import datasets as datasets
from ....data import transforms as transforms
