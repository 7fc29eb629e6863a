"""Configs of several runs: sweeps, atlases of families, and the criteria of a credible sweep."""

import dataclasses

from gen.config.families import ATLAS_FAMILIES
from gen.config.run import Run


@dataclasses.dataclass
class Criteria:
  """What makes a sweep credible, decided before it runs: one field for each criterion."""

  # Of the vertex of each valley; chosen: with one a parabola's arm would rest on a single run.
  min_points_each_side: int = 2
  min_r_squared: float = (
    0.9  # of each valley's parabola; chosen: noise has at most a tenth of the valley's scatter
  )
  # Largest over smallest N of a valley; chosen: a narrower one is flat within noise.
  min_size_span: float = 4.0
  # |a2 - a3|; chosen: the paper's own lie 0.03 apart (arXiv:2203.15556, table 2).
  max_exponent_gap: float = 0.05
  max_held_out_loss_error: float = 0.02  # relative, mean over the held-out runs
  max_held_out_size_factor: float = 2.0  # of N* at the held-out budget
  max_leave_out_shift: float = 0.05  # of a, any one budget left out; chosen: as the gap between approaches
  # Sanity band of a; chosen: wide around the paper's 0.46 to 0.50 (arXiv:2203.15556, table 2).
  min_exponent: float = 0.40
  max_exponent: float = 0.65  # upper end of that band; below the 0.73 of arXiv:2001.08361
  # A shorter run is left out of the fits; chosen: below it large models stay on their first plateau.
  min_steps: int = 1000
  confidence: float = 0.90  # of all intervals; 90 % leaves 5 % on either side, which 1,000 resamples resolve


@dataclasses.dataclass
class Sweep(Run):
  """A sweep: each of `widths[i]` is trained for `budgets[i]`, which are FLOPs (IsoFLOP) by default.

  `budget_unit` is the unit of budgets: flops, tokens, tokens_per_parameter or steps. With tokens, one width at several
  budgets is a study of fixed N. `learning_rate_multipliers` and `seeds` are further axes. With `trunks`, runs that
  differ only in their budget share their steps before the learning rate decays.
  The fields inherited from `Run` hold for every run, but model.width, depth, batch and the learning rate come from the
  rules below. If model.heads is set, every size has that number of heads, each width / heads wide.
  """

  budgets: tuple[float, ...] = ()  # lengths of runs, in units of `budget_unit`
  widths: tuple[tuple[int, ...], ...] = ()  # one tuple for each budget
  batches: tuple[int, ...] = ()  # rows per step, one for each budget, and one for held_out; empty: data.batch
  min_steps: int = 0  # the batch of a run is halved while the run would have fewer steps
  max_steps: int = 0  # the batch of a run is doubled while the run would have more steps; 0: never
  depths: tuple[tuple[int, int], ...] = ()  # (width, depth) where the depth is not model.depth
  seeds: tuple[int, ...] = ()  # seeds of each size and budget; empty: one seed
  budget_unit: str = "flops"  # flops | tokens | tokens_per_parameter | steps: unit of budgets and held_out
  trunks: bool = False  # each size is one run at a constant rate, each budget a branch that decays (wsd)
  # Multiples of the rule's learning rate, each of which is one more run; empty: 1.
  learning_rate_multipliers: tuple[float, ...] = ()
  # Weights of data.mixture in its order, as ((1, 0), (0.5, 0.5)): each is one more run; empty: data.mixture's own.
  mixtures: tuple[tuple[float, ...], ...] = ()
  unique_tokens: tuple[
    int, ...
  ] = ()  # limits of the training text, each of which is one more run; empty: data's
  held_out: float = 0.0  # budget that is not used in fits, but to test them; 0 is none
  held_out_widths: tuple[int, ...] = ()  # sizes of the held-out budget
  # The learning rate of a run is optimizer.peak_learning_rate * (width / rate_width)^rate_width_power * ...
  # The peak itself holds at this width: a small one, at which it is cheap to tune.
  rate_width: float = 64.0
  rate_width_power: float = 0.0  # exponent of the width in that rule
  rate_steps: float = 10_000.0  # ... * (steps / rate_steps)^rate_steps_power
  rate_steps_power: float = 0.0  # exponent of the steps in that rule
  rate_batch_power: float = 0.0  # ... * (batch / data.batch)^rate_batch_power
  # 1,000: an end of a 90 % interval is then the 50th draw.
  bootstraps: int = 1000  # resamples for each interval
  workers: int = 0  # number of worker processes; 0: one per core
  criteria: Criteria = dataclasses.field(default_factory=Criteria)


@dataclasses.dataclass
class Atlas:
  """IsoFLOP sweeps of several families on the same text, each with its own sizes, learning rates and objective."""

  name: str = ""  # also the folder under runs/ where no --workdir is given
  decoder: Sweep = dataclasses.field(default_factory=Sweep)
  encoder: Sweep = dataclasses.field(default_factory=Sweep)
  encoder_decoder: Sweep = dataclasses.field(default_factory=Sweep)
  lstm: Sweep = dataclasses.field(default_factory=Sweep)
  # As in a sweep.
  bootstraps: int = 1000  # resamples for each interval of a family, and of their comparison
  seed: int = 0  # of the resamples
  workers: int = 0  # number of worker processes; 0: one per core

  @property
  def studies(self) -> dict[str, Sweep]:
    """The sweep of each family, by its name."""
    return {name: getattr(self, name) for name in ATLAS_FAMILIES}
