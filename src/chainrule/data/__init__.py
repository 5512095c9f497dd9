"""Data: data sets, loaders, tables, bundled sets; also `chainrule.utils.data`."""

from __future__ import annotations

from ._bundled import load as load
from ._collate import default_collate as default_collate
from ._csv import read_csv as read_csv
from ._dataset import ConcatDataset as ConcatDataset
from ._dataset import Dataset as Dataset
from ._dataset import IterableDataset as IterableDataset
from ._dataset import Subset as Subset
from ._dataset import TensorDataset as TensorDataset
from ._dataset import as_tensors as as_tensors
from ._encode import TableEncoder as TableEncoder
from ._encode import Task as Task
from ._encode import split_table as split_table
from ._labelled import LabelledDataset as LabelledDataset
from ._loader import DataLoader as DataLoader
from ._loader import random_split as random_split
from ._samplers import BatchSampler as BatchSampler
from ._samplers import RandomSampler as RandomSampler
from ._samplers import Sampler as Sampler
from ._samplers import SequentialSampler as SequentialSampler
from ._samplers import SubsetRandomSampler as SubsetRandomSampler
from ._samplers import WeightedRandomSampler as WeightedRandomSampler
from ._table import Column as Column
from ._table import Table as Table
