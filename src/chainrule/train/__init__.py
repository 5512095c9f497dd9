"""Training: the Trainer, its checkpoints, and the store of runs."""

from . import measures as measures
from .callbacks import Callback as Callback
from .callbacks import EarlyStopping as EarlyStopping
from .callbacks import ModelCheckpoint as ModelCheckpoint
from .callbacks import View as View
from .checkpoint import CheckpointWarning as CheckpointWarning
from .choice import EngineWarning as EngineWarning
from .choice import ResumeWarning as ResumeWarning
from .findings import SEVERITIES as SEVERITIES
from .findings import Finding as Finding
from .metrics import Metric as Metric
from .metrics import Rows as Rows
from .metrics import Sums as Sums
from .moment import Moment as Moment
from .moment import MomentWarning as MomentWarning
from .run import Run as Run
from .run import list_runs as list_runs
from .run import open_run as open_run
from .store import CheckpointRecord as CheckpointRecord
from .store import Store as Store
from .store import store_folder as store_folder
from .trainer import Trainer as Trainer
