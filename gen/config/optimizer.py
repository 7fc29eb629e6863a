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
  # Reached at the end of the warmup; chosen for the default width of 128: wider models take less.
  peak_learning_rate: float = 3e-3
  schedule: str = "linear"  # linear | cosine | constant | wsd | wsd_sqrt | a function, as mine.py:rate
  # Fraction of the steps; chosen: less would be too few steps in a short run.
  warmup: float = 0.05
  decay: float = 0.2  # fraction of the steps that decay (wsd, wsd_sqrt), as in arXiv:2405.18392
  final: float = 0.0  # last learning rate as a fraction of the peak (all but constant)
  beta1: float = 0.9  # decay of the first moment, per step (arXiv:1412.6980)
  # Decay of the second moment, per step, as in arXiv:1706.03762, section 5.3; .95 is GPT-3's, .999 Adam's.
  beta2: float = 0.98
  momentum: float = 0.95  # of muon's matrices, and of sgd; per step (Jordan et al. 2024)
  epsilon: float = 1e-8  # added to the root of the second moment (arXiv:1412.6980)
  # Decoupled; on parameters of rank 2 and above; GPT-3's (arXiv:2005.14165, appendix B).
  weight_decay: float = 0.1
  clip: float = 1.0  # global gradient norm; 0 is none; GPT-3's (arXiv:2005.14165, appendix B)
  microbatches: int = 1  # gradient accumulation: number of parts of the batch
  z_loss: float = 0.0  # weight of log(Z)^2 (PaLM)
  label_smoothing: float = 0.0  # share of the target spread over the vocabulary
  moment_dtype: str = "float32"  # float32 | bfloat16, rounded stochastically: arrays of the optimizer's state
  param_dtype: str = "float32"  # the same of parameters between steps; products are of model.dtype
  frozen: tuple[str, ...] = ()  # patterns of parameters that are not trained, as ("embedding", "*_norm/*")
  rate_multipliers: tuple[str, ...] = ()  # PATTERN=NUMBER: multiples of the learning rate, as ("head/*=10",)
  # The run ends if more steps have a gradient that is not finite; chosen: a few are an accident.
  max_skipped_steps: int = 20
