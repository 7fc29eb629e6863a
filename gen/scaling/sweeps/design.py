"""Expands a sweep into runs: budgets x sizes x texts x learning rates x seeds, each trained to its budget.

A budget is FLOPs (IsoFLOP, approach 2 of arXiv:2203.15556), tokens (several at one size: fixed N), tokens per
parameter, or steps (`Sweep.budget_unit`). C FLOPs, D width. All differences between runs are set here: width, depth,
batch, seed, horizon, and the learning rate by the sweep's rule

    rate = peak * (D / rate_width)^rate_width_power * (steps / rate_steps)^rate_steps_power
           * (batch / data.batch)^rate_batch_power

times each of `learning_rate_multipliers`. Large models of a budget read few tokens, so their batches are halved until
they take `min_steps` steps. Small models read many, and the gradient noise of a small batch would raise their loss, so
their batches are doubled while they take more than `max_steps` steps. With `trunks`, runs that differ in budget alone
are branches of one trunk (`gen.scaling.sweeps.trunk_sweeps`). Their batch suits the shortest run first, their learning
rate is that of the longest, and their warmup is the same.
"""

import copy
import dataclasses
from typing import NamedTuple

from gen import counts
from gen.config import Run, Sweep, field_ranges, user_sources, validation
from gen.data import objectives
from gen.errors import UserError
from gen.scaling.sweeps import started_sweeps, text_axes, trunk_sweeps
from gen.training.run_folders import run_length

LETTERS = {"flops": "C", "tokens": "D", "tokens_per_parameter": "R", "steps": "S"}  # of budgets, in names


class SweepCell(NamedTuple):
  """The runs of one budget."""

  budget: float
  widths: tuple[int, ...]
  batch: int
  seeds: int


def expand_sweep(sweep: Sweep, vocab: int) -> list[Run]:
  """Returns the runs of a sweep, the longest first, so that no long run starts last.

  Args:
    sweep: the sweep; the fields that it shares with a run apply to every run.
    vocab: vocabulary of the tokenizer, unless the config sets model.vocab; it turns FLOPs into steps.

  Raises:
    UserError: for an invalid sweep, before anything is built.
  """
  cells, sweep = sweep_cells(sweep), started_sweeps.with_source(sweep)
  runs = [
    _run(dataclasses.replace(sweep, data=text.data), cell, width, seed, vocab, rate, cells, text.name)
    for cell in cells
    for width in cell.widths
    for text in text_axes.text_variants(sweep)
    for rate in sweep.learning_rate_multipliers or (1.0,)
    for seed in range(cell.seeds)
  ]
  # Longest first, so that workers end at about the same time.
  return sorted(runs, key=expected_time, reverse=True)


def canonical_order(runs: list[Run]) -> list[Run]:
  """Returns the runs sorted by FLOPs, size, learning rate and seed, the order of tables."""
  return sorted(
    runs,
    key=lambda run: (run.flops, run.model.width, run.model.depth, run.optimizer.peak_learning_rate, run.seed),
  )


def sweep_cells(sweep: Sweep) -> list[SweepCell]:
  """Returns the budgets with their sizes, the held-out one last.

  Raises:
    UserError: if the sweep's fields contradict each other.
  """
  count = len(sweep.budgets)
  _check_design(sweep)
  batches = sweep.batches or (sweep.data.batch,) * count
  seeds = sweep.seeds or (1,) * count
  cells = [
    SweepCell(float(sweep.budgets[i]), tuple(sweep.widths[i]), batches[i], seeds[i]) for i in range(count)
  ]
  if sweep.held_out:
    one_seed = seeds[count] if len(seeds) > count else 1
    cells.append(SweepCell(float(sweep.held_out), tuple(sweep.held_out_widths), batches[-1], one_seed))
  return cells


def check_sweep(sweep: Sweep) -> None:
  """Checks a sweep as far as possible without its corpus and tokenizer.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  base = copy.deepcopy(sweep)
  if sweep.widths and sweep.widths[0]:
    base.model.width = sweep.widths[0][0]
  validation.check_run(base, horizon=False)
  started_sweeps.check_start(sweep)
  # Any vocabulary finds the mistakes; the tokenizer's needs the corpus.
  expand_sweep(sweep, vocab=256)


def is_held_out(sweep: Sweep, run: Run) -> bool:
  """Returns whether a run is excluded from fits."""
  return bool(sweep.held_out) and run.name.startswith(_horizon_name(sweep.budget_unit, sweep.held_out) + "-")


def flops_per_step(run: Run) -> float:
  """Returns the exact training FLOPs of one step of a run whose vocabulary is known."""
  counts.require_counted(run.model, "a sweep compares runs by their FLOPs", "add it")
  target, source = _lengths(run)
  return counts.count_flops(run.model, target, source).total * run.data.batch + run_length.update_flops(run)


def _lengths(run: Run) -> tuple[int, int]:
  """Returns the number of target positions of a row, and of source positions for an encoder-decoder."""
  source, target = objectives.row_shapes(run.data.objective, run.data.length, family=run.model.role)
  return target, source if run.model.family == "encoder_decoder" else 0


def learning_rate(sweep: Sweep, width: int, steps: float, batch: int = 0) -> float:
  """Returns the peak learning rate of a run, rounded to four digits, so it is equal on every machine.

  A batch of 0 is data.batch.

  >>> learning_rate(Sweep(rate_width=64, rate_width_power=-1.0), width=128, steps=1000)
  0.0015
  """
  by_width = (width / sweep.rate_width) ** sweep.rate_width_power
  by_steps = (steps / sweep.rate_steps) ** sweep.rate_steps_power
  by_batch = ((batch or sweep.data.batch) / sweep.data.batch) ** sweep.rate_batch_power
  return float(f"{sweep.optimizer.peak_learning_rate * by_width * by_steps * by_batch:.4g}")


def name_of(
  budget: float, width: int, seed: int, counted: str = "flops", rate: float | None = None, text: str = ""
) -> str:
  """Returns a run's name; it contains the learning-rate multiplier and the text's name if the sweep has several.

  >>> name_of(1.25e12, 64, 0), name_of(2000, 64, 0, "steps", 0.5)
  ('C1.25e12-w64-s0', 'S2e3-w64-r0.5-s0')
  """
  return f"{_horizon_name(counted, budget)}-{_size_name(width, seed, rate, text)}"


def _size_name(width: int, seed: int, rate: float | None, text: str) -> str:
  return f"w{width}{'' if rate is None else f'-r{rate:g}'}{text}-s{seed}"


def _horizon_name(counted: str, budget: float) -> str:
  mantissa, exponent = f"{budget:.12e}".split("e")
  return f"{LETTERS[counted]}{float(mantissa):.13g}e{int(exponent)}"


def _run(
  sweep: Sweep,
  cell: SweepCell,
  width: int,
  seed: int,
  vocab: int,
  rate: float,
  others: list[SweepCell],
  text: str,
) -> Run:
  shared = {field.name: copy.deepcopy(getattr(sweep, field.name)) for field in dataclasses.fields(Run)}
  run = Run(**shared)
  # Runs of one seed read their text in the same order at all sizes, so comparisons of sizes are paired.
  run.seed = sweep.seed + seed
  named = rate if sweep.learning_rate_multipliers else None
  run.name = name_of(cell.budget, width, run.seed, sweep.budget_unit, named, text)
  run.model.width, run.data.batch = width, cell.batch
  run.model.depth = dict(sweep.depths).get(width, sweep.model.depth)
  if run.model.heads:
    run.model.head_width = width // run.model.heads
  run.model.vocab = run.model.vocab or vocab
  run.model.context = run.model.context or max(_lengths(run))
  run.flops = _flops(sweep.budget_unit, cell.budget, run)
  validation.check_run(run)
  ends = {
    sharing: _flops(sweep.budget_unit, sharing.budget, run)
    for sharing in _sharing(sweep, cell, width, others)
  }
  if sweep.budget_unit != "steps":  # those that are asked for are taken, whatever the batch
    _suit_batch(sweep, run, min(ends.values()), max(ends.values()))
  steps = max(ends.values()) / flops_per_step(run)
  peak = learning_rate(sweep, width, steps, run.data.batch)
  # Four digits: the config stays readable, and its hash does not depend on the last bit of a power.
  run.optimizer.peak_learning_rate = float(f"{peak * rate:.4g}")
  if sweep.trunks:
    branches = sorted(flops for sharing, flops in ends.items() if seed < sharing.seeds)
    name = f"trunk-{_size_name(width, run.seed, named, text)}"
    trunk_sweeps.join_trunk(run, name, flops_per_step(run), sorted(ends.values()), branches)
  return user_sources.with_sources(run)


def _suit_batch(sweep: Sweep, run: Run, shortest: float, longest: float) -> None:
  """Halves or doubles a run's batch until its steps are within min_steps and max_steps; horizons are in FLOPs."""
  # FLOPs of a step change with the batch, so they are counted again in each round.
  while run.data.batch % 2 == 0 and shortest / flops_per_step(run) < sweep.min_steps:
    run.data.batch //= 2
  while (
    0 < sweep.max_steps < longest / flops_per_step(run)
    and shortest / flops_per_step(run) >= 2 * sweep.min_steps
  ):
    run.data.batch *= 2


def _sharing(sweep: Sweep, cell: SweepCell, width: int, others: list[SweepCell]) -> list[SweepCell]:
  """Returns the budgets whose runs of a width share batch, learning rate and warmup with a cell's run."""
  return [candidate for candidate in others if width in candidate.widths] if sweep.trunks else [cell]


def _flops(counted: str, budget: float, run: Run) -> float:
  """Returns the FLOPs of a run whose budget has another unit; its horizon is always in FLOPs."""
  if counted == "flops":
    return budget
  if counted == "steps":
    return budget * flops_per_step(run)
  data = run.data
  target, source = _lengths(run)
  raw = objectives.raw_row_length(data.objective, data.length, family=run.model.role)
  row_tokens = raw if source else min(raw, target)
  tokens = budget * (counts.count_matrices(run.model) if counted == "tokens_per_parameter" else 1)
  return tokens * flops_per_step(run) / (data.batch * row_tokens)


def expected_time(run: Run) -> tuple[float, ...]:
  """Returns a sort key by expected time; a core computes fewer FLOPs per second in narrow models.

  The branches of a trunk come after all runs that train a trunk, ordered by when their trunk is done.
  """
  longest = max(run.branches, default=run.flops)
  # 24 is our estimate of how slowly narrow products run; it orders runs and enters no result.
  return trunk_sweeps.own_share(run) * longest * (1 + 24 / run.model.width), run.flops, -run.seed


def _check_design(sweep: Sweep) -> None:
  count = len(sweep.budgets)
  if not count:
    raise UserError("the sweep has no budgets; set config.budgets and config.widths")
  if len(sweep.widths) != count:
    raise UserError(
      f"config.budgets has {count} entries, config.widths {len(sweep.widths)}; give one tuple each"
    )
  for name in ("batches", "seeds"):
    entries = len(getattr(sweep, name))
    if entries not in (0, count, count + bool(sweep.held_out)):
      raise UserError(f"config.budgets has {count} entries, config.{name} {entries}; give one each, or none")
  _check_axes(sweep)
  trunk_sweeps.check_trunks(sweep)
  for name in ("steps", "tokens", "flops"):
    if getattr(sweep, name):
      raise UserError(f"config.{name} is set, but the runs of a sweep end by its budgets; leave it 0")
  for budget in (*sweep.budgets, sweep.held_out or 1.0):
    if not 0 < budget < float("inf"):
      raise UserError(
        f"a budget of {budget:g} {_unit(sweep)} is not valid; it must be a number greater than 0"
      )
  repeated = [budget for budget in sweep.budgets if sweep.budgets.count(budget) > 1]
  if repeated:
    raise UserError(f"config.budgets holds {repeated[0]:g} twice")
  if sweep.held_out in sweep.budgets:
    raise UserError(f"config.held_out {sweep.held_out:g} is among config.budgets; it must be another budget")
  if bool(sweep.held_out) != bool(sweep.held_out_widths):
    raise UserError("config.held_out and config.held_out_widths belong together; set both or neither")
  _check_counts(sweep)


def _unit(sweep: Sweep) -> str:
  return "FLOPs" if sweep.budget_unit == "flops" else sweep.budget_unit.replace("_", " ")


def _check_axes(sweep: Sweep) -> None:
  if sweep.budget_unit not in LETTERS:
    raise UserError(f"config.budget_unit is {sweep.budget_unit!r}; it must be one of {', '.join(LETTERS)}")
  for rate in sweep.learning_rate_multipliers:
    if not 0 < rate < float("inf"):
      raise UserError(
        f"config.learning_rate_multipliers holds {rate:g}; multiples of the learning rate must be greater than 0"
      )
  if len(set(sweep.learning_rate_multipliers)) != len(sweep.learning_rate_multipliers):
    raise UserError(
      f"config.learning_rate_multipliers holds {sweep.learning_rate_multipliers}, with one multiple twice"
    )


def _check_counts(sweep: Sweep) -> None:
  for widths in (*sweep.widths, sweep.held_out_widths):
    if len(set(widths)) != len(widths):
      raise UserError(f"config.widths holds {widths}, with one width twice")
  for widths, budget in zip(sweep.widths, sweep.budgets, strict=True):
    if not widths:
      raise UserError(f"config.widths has no width for the budget of {budget:g} {_unit(sweep)}")
  for name in ("batches", "seeds"):
    for value in getattr(sweep, name):
      if value < 1:
        raise UserError(f"config.{name} holds {value}; the least is 1")
  for width in {width for widths in (*sweep.widths, sweep.held_out_widths) for width in widths}:
    if sweep.model.heads and width % sweep.model.heads:
      raise UserError(
        f"config.widths holds {width}, which is not a multiple of model.heads {sweep.model.heads}"
      )
  for width, depth in sweep.depths:
    if width < 1 or depth < 1:
      raise UserError(f"config.depths holds ({width}, {depth}); both must be at least 1")
  validation.check_ranges(sweep, field_ranges.SWEEP, "config.")
  if 0 < sweep.max_steps < 2 * sweep.min_steps:
    raise UserError(
      f"config.max_steps is {sweep.max_steps}, less than twice config.min_steps {sweep.min_steps}: "
      "for some runs no batch satisfies both"
    )


__all__ = [
  "SweepCell",
  "canonical_order",
  "check_sweep",
  "expand_sweep",
  "expected_time",
  "flops_per_step",
  "is_held_out",
  "learning_rate",
  "name_of",
  "sweep_cells",
]
