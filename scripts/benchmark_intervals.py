"""Measures the coverage of the parametric fit's intervals, by simulated studies of a known law.

  uv run scripts/benchmark_intervals.py --studies=200 --bootstraps=300
  uv run scripts/benchmark_intervals.py --sizes=5 --budgets=4 --noise=0.01     a small study

Each study has IsoFLOP budgets a factor 3 apart, sizes around each optimum, and noise in log loss, normal or with
the tails of Student's t. Prints, per constant, the fraction of studies whose interval contained the truth, by
percentile and by BCa from the same resamples, with the standard error of that share.
"""

import argparse
import math
import sys

import numpy as np

from gen.cli import terminal
from gen.errors import UserError
from gen.scaling.laws import fit, parametric
from gen.scaling.laws.loss_law import optimum
from gen.scaling.laws.loss_law.law import HOFFMANN_2022, ParametricLaw
from gen.scaling.runs import bootstrap
from gen.scaling.runs.runs_table import RunsTable

NAMES = ("E", "A", "B", "alpha", "beta", "a", "N_ahead")
AHEAD = 10.0  # the budget at which N* is predicted, over the largest of the study


def main(arguments: list[str] | None = None) -> int:
  """Simulates, fits and prints; returns the exit code."""
  flags = _parser().parse_args(arguments)
  held_mn = np.zeros((2, len(NAMES)))
  try:
    for study in range(flags.studies):
      held_mn += covered(HOFFMANN_2022, flags, study)
      if sys.stderr.isatty():
        print(f"\r{study + 1} of {flags.studies}", end="", file=sys.stderr)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(
    f"{flags.studies} studies of {flags.budgets} budgets x {flags.sizes} sizes, noise {flags.noise:g} in log loss "
    f"({flags.tails}), delta {flags.delta:g}, {flags.bootstraps} resamples: "
    f"share of {100 * flags.level:g} % intervals that hold the truth"
  )
  print(f"{'':12}" + "".join(f"{name:>12}" for name in NAMES))
  for method, held in zip(bootstrap.METHODS, held_mn / flags.studies, strict=True):
    print(f"{method:12}" + "".join(f"{100 * share:>10.1f} %" for share in held))
  deviation = math.sqrt(flags.level * (1 - flags.level) / flags.studies)
  print(f"standard error of a share at the nominal level: {100 * deviation:.1f} %")
  return 0


def simulate(law: ParametricLaw, flags: argparse.Namespace, study: int) -> RunsTable:
  """Returns one study's runs."""
  random = np.random.default_rng((flags.seed, study))
  flops = np.repeat(1e18 * 3.0 ** np.arange(flags.budgets), flags.sizes)
  spread = np.geomspace(1 / flags.span, flags.span, flags.sizes)
  params = law.optimum(flops)[0] * np.tile(spread, flags.budgets)
  tokens = flops / (6 * params)
  noise = random.normal(size=len(flops)) if flags.tails == "normal" else random.standard_t(4, len(flops))
  return fit.make_runs(params, tokens, law.loss(params, tokens) * np.exp(flags.noise * noise), flops)


def covered(law: ParametricLaw, flags: argparse.Namespace, study: int) -> np.ndarray:
  """Returns which intervals of one study contain the truth, [method, constant]."""
  points = simulate(law, flags, study)
  fitted = parametric.fit(
    points,
    delta=flags.delta,
    bootstraps=flags.bootstraps,
    seed=study,
    level=flags.level,
    method="bca",
  )
  ahead = AHEAD * float(points.flops.max())
  left_out = _quantities(fitted.left_out_kp, ahead)
  draws, estimates = _quantities(fitted.draws_sp, ahead), _constants(fitted.law, ahead)
  truth = _constants(law, ahead)
  rows = []
  for corrections in ({}, left_out):
    pairs = [
      bootstrap.draw_interval(draws[name], estimates[name], flags.level, corrections.get(name))
      for name in NAMES
    ]
    rows.append([low <= truth[name] <= high for name, (low, high) in zip(NAMES, pairs, strict=True)])
  return np.array(rows)


def _constants(law: ParametricLaw, flops: float) -> dict[str, float]:
  return {name: getattr(law, name) for name in NAMES[:-1]} | {"N_ahead": float(law.optimum(flops)[0])}


def _quantities(draws_sp: np.ndarray | None, flops: float) -> dict[str, np.ndarray]:
  if draws_sp is None:
    return {}
  a, b, e, alpha, beta = draws_sp.T
  with np.errstate(all="ignore"):
    known = {"E": np.exp(e), "A": np.exp(a), "B": np.exp(b), "alpha": alpha, "beta": beta}
    rise = beta / (alpha + beta)
  return known | {"a": rise, "N_ahead": optimum.optima_of_rows(draws_sp, flops)["N"]}


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--studies", type=int, default=200)
  parser.add_argument("--bootstraps", type=int, default=300)
  parser.add_argument("--budgets", type=int, default=7)
  parser.add_argument("--sizes", type=int, default=8)
  parser.add_argument("--span", type=float, default=4.0, help="largest size over the optimum")
  parser.add_argument("--noise", type=float, default=0.003, help="in log loss")
  parser.add_argument("--tails", choices=("normal", "t4"), default="normal")
  parser.add_argument("--delta", type=float, default=1e-3)
  parser.add_argument("--level", type=float, default=0.9)
  parser.add_argument("--seed", type=int, default=0)
  return parser


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
