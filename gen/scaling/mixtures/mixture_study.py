"""A study of a mixture's weights for a target text: its runs, its law, the weights it proposes, and their check.

The candidates are the corpora with weight in data.mixture. The target is one of them, or another text that is only
evaluated. Each run trains on one mixture of the candidates and is evaluated on the target.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gen.config import Run, Sweep, mixture
from gen.config.mixture import MixtureCorpus
from gen.errors import UserError
from gen.scaling.mixtures import mixing_law, mixture_design
from gen.scaling.mixtures.mixing_law import MixtureFit
from gen.scaling.sweeps import text_axes
from gen.training.run_log.rows import RowValues


@dataclasses.dataclass(frozen=True)
class MixtureRun:
  """A run of the study.

  Attributes:
    name: of the run.
    seed: of the run.
    weights: of the candidates.
    loss: on the target, nats per token.
    bits_per_byte: on the target.
  """

  name: str
  seed: int
  weights: list[float]
  loss: float
  bits_per_byte: float


@dataclasses.dataclass(frozen=True)
class MixtureCheck:
  """The proposed weights beside equal ones, in runs that the law did not see.

  Attributes:
    proposed: loss on the target at the proposed weights, mean over seeds, nats.
    equal: the same at equal weights.
    gain: equal less proposed.
    error: standard error of the gain over seeds; None with one seed.
    better: whether the proposed weights are better: by more than 2 standard errors, where there is one.
    runs: the runs.
  """

  proposed: float
  equal: float
  gain: float
  error: float | None
  better: bool
  runs: list[MixtureRun]


@dataclasses.dataclass(frozen=True)
class MixtureStudy:
  """Results of the study.

  Attributes:
    target: text whose loss is to be low.
    corpora: the candidates, in the order of all weights.
    runs: the designed runs.
    fit: the law and the weights of least predicted loss.
    proposed: these weights, rounded.
    mixture: the proposal as data.mixture takes it.
    check: of the proposal; None before its runs are trained.
  """

  target: str
  corpora: list[str]
  runs: list[MixtureRun]
  fit: MixtureFit
  proposed: list[float]
  mixture: str
  check: MixtureCheck | None = None


def candidate_names(sweep: Sweep) -> list[str]:
  """Returns the names of the corpora whose weights are sought."""
  return [corpus.name for corpus in sweep.data.mixture if corpus.weight]


def designed_sweep(sweep: Sweep, target: str, interior: int) -> Sweep:
  """Returns the sweep of the designed runs.

  Args:
    sweep: base of all runs; data.mixture holds the candidates, and their weights only say that they are.
    target: name of a corpus of data.mixture, or another text, as data.corpus names it.
    interior: random interior points of the design.

  Raises:
    UserError: for fewer than two candidates, no target, or a mixture that has more than weights.
  """
  if not target:
    raise UserError(
      "--target is empty; name the text whose loss is to be low, as --target=law or --target=FILE"
    )
  if sweep.mixtures or sweep.unique_tokens:
    raise UserError(
      "config.mixtures and config.unique_tokens are axes of other sweeps; leave them empty here"
    )
  data = sweep.data
  if data.mixture_temperature or data.mixture_schedule or data.mixture_unit != "share":
    raise UserError(
      "data.mixture may only name candidates here; leave its temperature, schedule and unit out"
    )
  if len(candidate_names(sweep)) < 2:
    raise UserError(
      "data.mixture must give at least two candidates a weight, as in --config.data.mixture=manual=1,law=1"
    )
  if target not in {corpus.name for corpus in data.mixture}:
    # Weight 0: a corpus that is evaluated and never trained on.
    data = dataclasses.replace(data, mixture=(*data.mixture, MixtureCorpus(target, weight=0.0)))
  # Equal shares: each run has weights of its own, and these only mark the candidates.
  share = 1 / len(candidate_names(sweep))
  data = mixture.with_weights(data, [share if corpus.weight else 0.0 for corpus in data.mixture])
  count = len(sweep.budgets)
  base = dataclasses.replace(
    sweep,
    data=data,
    batches=sweep.batches[:count],
    seeds=sweep.seeds[:count],
    held_out=0.0,
    held_out_widths=(),
  )
  points = mixture_design.design_weights(len(candidate_names(sweep)), interior, sweep.seed)
  return _with_mixtures(base, points)


def checking_sweep(sweep: Sweep, designed: Sweep, proposed: Sequence[float]) -> Sweep:
  """Returns the sweep that checks a proposal: it and equal weights, at the held-out budget and with other seeds.

  Args:
    sweep: the study's config; without config.held_out, the budget and size of the designed runs are used.
    designed: as of `designed_sweep`.
    proposed: weights of the candidates.
  """
  equal = mixture_design.round_weights(np.ones(len(proposed)))
  base = dataclasses.replace(
    designed,
    budgets=(sweep.held_out or sweep.budgets[-1],),
    widths=((sweep.held_out_widths or sweep.widths[-1])[:1],),
    batches=sweep.batches[-1:],
    seeds=sweep.seeds[-1:],
    # Seeds that no designed run has: the proposal was chosen on their noise, and would look better than it is.
    seed=sweep.seed + max(sweep.seeds, default=1),
  )
  return _with_mixtures(base, list(dict.fromkeys([tuple(proposed), equal])))


def _with_mixtures(sweep: Sweep, points: Sequence[Sequence[float]]) -> Sweep:
  """Returns the sweep with weights of its candidates, 0 for texts that are only evaluated."""
  names, chosen = [corpus.name for corpus in sweep.data.mixture], candidate_names(sweep)
  mixtures = []
  for point in points:
    by_name = dict(zip(chosen, point, strict=True))
    mixtures.append(tuple(float(by_name.get(name, 0.0)) for name in names))
  return dataclasses.replace(sweep, mixtures=tuple(mixtures))


def measured_runs(
  sweep: Sweep, target: str, runs: Sequence[Run], rows: Sequence[RowValues]
) -> list[MixtureRun]:
  """Returns the runs that have a result, with their loss on the target.

  Args:
    sweep: as of `designed_sweep` or `checking_sweep`.
    target: name of the target.
    runs: of the sweep.
    rows: result rows.
  """
  chosen, by_name = candidate_names(sweep), {run.name: run for run in runs}
  measured = []
  for row in rows:
    run = by_name[row["name"]]
    weights = {corpus.name: float(corpus.weight or 0.0) for corpus in run.data.mixture}
    values = (row.get("corpora") or {})[target]
    measured.append(
      MixtureRun(
        row["name"], run.seed, [weights[name] for name in chosen], values["loss"], values["bits_per_byte"]
      )
    )
  return measured


def fit_study(
  sweep: Sweep, target: str, runs: Sequence[MixtureRun], bootstraps: int, confidence: float
) -> MixtureStudy:
  """Fits the law and proposes weights.

  Args:
    sweep: as of `designed_sweep`.
    target: name of the target.
    runs: the measured runs.
    bootstraps: number of fits for the intervals.
    confidence: coverage of the intervals.

  Raises:
    UserError: if there are too few runs.
  """
  weights_nk, losses_n = np.array([run.weights for run in runs]), np.array([run.loss for run in runs])
  fit = mixing_law.fit_mixtures(weights_nk, losses_n, bootstraps, confidence, sweep.seed)
  proposed = mixture_design.round_weights(np.array(fit.weights))
  chosen = candidate_names(sweep)
  written = ",".join(f"{name}={weight:g}" for name, weight in zip(chosen, proposed, strict=True))
  return MixtureStudy(target, chosen, list(runs), fit, list(proposed), written)


def check_proposal(study: MixtureStudy, runs: Sequence[MixtureRun]) -> MixtureCheck:
  """Compares the proposed weights with equal ones, seed by seed.

  Args:
    study: with the proposal.
    runs: of the checking sweep.

  Raises:
    UserError: if the runs of one of the two have no result.
  """
  equal = text_axes.name_weights(mixture_design.round_weights(np.ones(len(study.corpora))))
  losses: dict[str, dict[int, float]] = {}
  for run in runs:
    losses.setdefault(text_axes.name_weights(run.weights), {})[run.seed] = run.loss
  proposed_losses, equal_losses = (
    losses.get(text_axes.name_weights(study.proposed), {}),
    losses.get(equal, {}),
  )
  seeds = sorted(set(proposed_losses) & set(equal_losses))
  if not seeds:
    raise UserError(
      "the proposed weights cannot be checked: they and equal weights have no finished run in common"
    )
  # Paired: runs of one seed share the order of their rows and their first parameters.
  gains = [equal_losses[seed] - proposed_losses[seed] for seed in seeds]
  error = float(np.std(gains, ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else None
  gain = float(np.mean(gains))
  return MixtureCheck(
    proposed=float(np.mean([proposed_losses[seed] for seed in seeds])),
    equal=float(np.mean([equal_losses[seed] for seed in seeds])),
    gain=gain,
    error=error,
    # Two standard errors, about 95 % for many seeds; with few, the test is looser than it says.
    better=gain > 2 * (error or 0.0),
    runs=list(runs),
  )
