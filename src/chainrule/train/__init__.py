"""Training: the Trainer, its checkpoints, and the store of runs."""

from .checkpoint import CheckpointWarning as CheckpointWarning
from .findings import SEVERITIES as SEVERITIES
from .findings import Finding as Finding
from .run import Run as Run
from .run import list_runs as list_runs
from .run import open_run as open_run
from .store import CheckpointRecord as CheckpointRecord
from .store import Store as Store
from .store import store_folder as store_folder
from .trainer import EngineWarning as EngineWarning
from .trainer import ResumeWarning as ResumeWarning
from .trainer import Trainer as Trainer
