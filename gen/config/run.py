"""One training run."""

import dataclasses

from gen.config.data import Data
from gen.config.model import Model
from gen.config.optimizer import Optimizer
from gen.config.references import HoldsReferences


@dataclasses.dataclass
class Run(HoldsReferences):
  """One training run. Its length is set by exactly one of steps, tokens and flops."""

  own_code = ("callbacks", "metrics")

  name: str = ""  # also the folder under runs/ where no --workdir is given
  seed: int = 0  # of parameters, data order and dropout
  model: Model = dataclasses.field(default_factory=Model)
  data: Data = dataclasses.field(default_factory=Data)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  steps: int = 0  # length of the run; exactly one of steps, tokens and flops
  tokens: float = 0.0  # length of the run in tokens
  flops: float = 0.0  # length of the run in training FLOPs
  # Steps that one compiled call runs; chosen: hides the host's time between steps, while few batches are in memory.
  steps_per_dispatch: int = 16
  log_every: int = 0  # steps between two journal rows; 0: about 50 rows in a run
  evaluate_every: int = 0  # steps between two evaluations; 0: only at the end
  checkpoint_every: int = 0  # steps between two checkpoints; 0: checkpoint_seconds
  checkpoint_seconds: float = 30.0  # seconds between two checkpoints; what a kill can lose
  keep_checkpoints: int = 2  # number of latest checkpoints that are retained
  tensorboard: bool = False  # also write TensorBoard events
  wandb: bool = False  # also log to Weights & Biases (the extra wandb)
  profile: str = ""  # FIRST:LAST, steps whose trace goes into WORKDIR/profile, as 10:13; empty: none
  mesh: str = (
    ""  # number of devices along each axis, as data=4,fsdp=2,tensor=2; empty: one device and no mesh
  )
  layout: str = "ddp"  # ddp | zero1 | zero2 | zero3: what is split over data; fsdp splits everything
  # Name of the trunk that the run branches off, a folder beside its own (gen/training/trunks.py); empty: none.
  trunk: str = ""
  branches: tuple[float, ...] = ()  # FLOPs of all runs that branch off that trunk
  # FOLDER[:step] of a run, or FOLDER of a Hugging Face checkpoint, whose parameters this run starts from.
  start_from: str = ""
  start_opt_state: bool = False  # start from the optimizer's state too
  start_partial: bool = False  # of another model, start from the parameters that agree
  callbacks: tuple[str, ...] = ()  # functions of (step, row, params), as mine.py:watch
  callback_every: int = 0  # steps between two calls of them; 0 is at each row of the journal
  metrics: tuple[str, ...] = ()  # functions of (module, params, batches), evaluated with the validation loss
  # Checksums of the user's own code and of the start, filled in: part of what the run is.
  sources: tuple[str, ...] = ()
