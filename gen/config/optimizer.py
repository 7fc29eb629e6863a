"""The optimizer and its schedule."""

import dataclasses

from gen.config.references import HoldsReferences

OPTIMIZER_NAMES = ("adamw", "muon", "lion", "adafactor", "sgd")
ELEMENTWISE = tuple(name for name in OPTIMIZER_NAMES if name != "muon")  # optimizers without matrix products


@dataclasses.dataclass
class Optimizer(HoldsReferences):
  """An optimizer with a schedule; fractions are of the run's steps.

  `name` may be a function of the user's own, as `package.module:name` or `path/to/file.py:name`. It is called with
  `learning_rate` (a schedule) and the keyword arguments in `options`, and returns an optax transformation. `schedule`
  may be a function of (step, `gen.optimizers.ScheduleParams`). In Python the functions themselves can be given.
  """

  own_code = ("optimizer.name", "optimizer.schedule")

  name: str = "adamw"  # adamw | muon | lion | adafactor | sgd | a function, as optax:lamb or mine.py:make
  options: str = ""  # keyword arguments of a function given as name, as b1=0.95,nesterov=True
  peak_learning_rate: float = 3e-3  # reached at the end of the warmup
  schedule: str = "linear"  # linear | cosine | constant | wsd | wsd_sqrt | a function, as mine.py:rate
  warmup: float = 0.05  # fraction of the steps
  decay: float = 0.2  # fraction of the steps that decay (wsd, wsd_sqrt)
  final: float = 0.0  # last learning rate as a fraction of the peak (all but constant)
  beta1: float = 0.9  # decay of the first moment, per step
  beta2: float = 0.98  # decay of the second moment, per step
  momentum: float = 0.95  # of muon's matrices, and of sgd; per step
  epsilon: float = 1e-8  # added to the root of the second moment
  weight_decay: float = 0.1  # decoupled; on parameters of rank 2 and above
  clip: float = 1.0  # global gradient norm; 0 is none
  microbatches: int = 1  # gradient accumulation: number of parts of the batch
  z_loss: float = 0.0  # weight of log(Z)^2 (PaLM)
  label_smoothing: float = 0.0  # share of the target spread over the vocabulary
  moment_dtype: str = "float32"  # float32 | bfloat16, rounded stochastically: arrays of the optimizer's state
  param_dtype: str = "float32"  # the same of parameters between steps; products are of model.dtype
  frozen: tuple[str, ...] = ()  # patterns of parameters that are not trained, as ("embedding", "*_norm/*")
  rate_multipliers: tuple[str, ...] = ()  # PATTERN=NUMBER: multiples of the learning rate, as ("head/*=10",)
  max_skipped_steps: int = 20  # the run ends if more steps have a gradient that is not finite
