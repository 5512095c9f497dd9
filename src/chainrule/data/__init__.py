"""Data: data sets, loaders, tables, bundled sets; also `chainrule.utils.data`."""

from __future__ import annotations

from . import datasets as datasets
from . import transforms as transforms
from ._bundled import load as load
from ._chunks import cut_sequence as cut_sequence
from ._collate import default_collate as default_collate
from ._csv import read_csv as read_csv
from ._dataset import ConcatDataset as ConcatDataset
from ._dataset import Dataset as Dataset
from ._dataset import IterableDataset as IterableDataset
from ._dataset import Subset as Subset
from ._dataset import TensorDataset as TensorDataset
from ._dataset import as_tensors as as_tensors
from ._disk import ArrayFile as ArrayFile
from ._disk import ArrayFiles as ArrayFiles
from ._encode import TableEncoder as TableEncoder
from ._encode import Task as Task
from ._encode import split_table as split_table
from ._fetch import fetcher as fetcher
from ._frames import from_frame as from_frame
from ._frames import read_parquet as read_parquet
from ._idx import read_idx as read_idx
from ._labelled import LabelledDataset as LabelledDataset
from ._loader import DataLoader as DataLoader
from ._loader import random_split as random_split
from ._npy import read_npy as read_npy
from ._npy import read_npz as read_npz
from ._samplers import BatchSampler as BatchSampler
from ._samplers import RandomSampler as RandomSampler
from ._samplers import Sampler as Sampler
from ._samplers import SequentialSampler as SequentialSampler
from ._samplers import SubsetRandomSampler as SubsetRandomSampler
from ._samplers import WeightedRandomSampler as WeightedRandomSampler
from ._standardize import Standardize as Standardize
from ._stream import TableStream as TableStream
from ._stream import stream_table as stream_table
from ._table import Column as Column
from ._table import Table as Table
from ._text import TextWindows as TextWindows
from ._text import Vocabulary as Vocabulary
from ._text import read_text as read_text
from ._text import split_text as split_text
from ._wav import Sound as Sound
from ._wav import read_wav as read_wav
from ._wav import resample as resample
