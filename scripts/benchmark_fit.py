"""Compares the time of the parametric fit in this checkout with that in another, in turn.

  git worktree add /tmp/before a50963c
  uv run scripts/benchmark_fit.py --before=/tmp/before --rounds=7

Each checkout has a process of its own, which compiles before the first measured round. In each round both processes
fit the same study, one after the other. Prints medians of seconds of the processor, and of the ratios of the rounds.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
STUDIES = ("5 x 7", "240 runs")
_CONSTANTS = (1.7, 410.0, 1900.0, 0.35, 0.36)  # E, A, B, alpha, beta


def main(arguments: list[str] | None = None) -> int:
  """Measures and prints; returns the exit code."""
  parser = argparse.ArgumentParser(description="Compares the time of the parametric fit in two checkouts.")
  parser.add_argument("--before", help="the other checkout")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--bootstraps", type=int, default=0)
  parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
  flags = parser.parse_args(arguments)
  if flags.worker:
    _serve(flags.bootstraps)
    return 0
  if not flags.before or not Path(flags.before, "gen").is_dir():
    print("error: --before must be the folder of another checkout", file=sys.stderr)
    return 2
  workers = [_start(path, flags.bootstraps) for path in (flags.before, HERE)]
  for name in STUDIES:
    for worker in workers:
      _ask(worker, name)
    seconds_rk = np.zeros((flags.rounds, 2))
    for number in range(flags.rounds):
      for side in (0, 1) if number % 2 else (1, 0):
        seconds_rk[number, side], objective = _ask(workers[side], name)
        if not number:
          print(f"{name}: objective {'now' if side else 'before'} {objective!r}")
    before, now = np.median(seconds_rk, 0)
    ratios = seconds_rk[:, 1] / seconds_rk[:, 0]
    print(
      f"{name}: {before:.3f} s before, {now:.3f} s now, ratio {np.median(ratios):.2f}"
      f" [{ratios.min():.2f}, {ratios.max():.2f}] in {flags.rounds} rounds"
    )
  for worker in workers:
    worker.communicate()
  return 0


def _start(path: str | Path, bootstraps: int) -> subprocess.Popen[str]:
  command = [sys.executable, str(Path(__file__).resolve()), "--worker", f"--bootstraps={bootstraps}"]
  environment = os.environ | {"PYTHONPATH": str(Path(path).resolve())}
  return subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=path
  )


def _ask(worker: subprocess.Popen[str], name: str) -> tuple[float, float]:
  assert worker.stdin and worker.stdout
  worker.stdin.write(f"{name}\n")
  worker.stdin.flush()
  seconds, objective = worker.stdout.readline().split()
  return float(seconds), float(objective)


def _serve(bootstraps: int) -> None:
  """Fits the studies named on standard input; writes processor seconds and objective of each fit."""
  try:
    from gen.scaling.laws import parametric
    from gen.scaling.runs.runs_table import make_runs
  except ImportError:  # the names of an older checkout
    from gen.scaling.points import make as make_runs  # type: ignore[import-not-found,no-redef]

    from gen.scaling import parametric  # type: ignore[attr-defined,no-redef]
  for line in sys.stdin:
    params, tokens, loss = study(line.strip())
    runs = make_runs(params, tokens, loss)
    begin = time.process_time()
    fitted = parametric.fit(runs, bootstraps=bootstraps)
    print(time.process_time() - begin, fitted.objective, flush=True)


def study(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns N, D and loss of a study with normal noise in log loss; one run in 40 is far off."""
  e, a, b, alpha, beta = _CONSTANTS
  random = np.random.default_rng(6)
  if name == STUDIES[0]:
    flops = np.repeat(np.geomspace(1e18, 1e20, 5), 7)
    params = 0.09 * flops**0.5 * np.tile(np.geomspace(0.3, 3.1, 7), 5)
  else:  # spread as in figure 4 of Hoffmann et al. 2022
    params = np.exp(random.uniform(np.log(4e7), np.log(1.6e10), 240))
    flops = np.exp(random.uniform(np.log(6e18), np.log(3e21), 240))
  tokens = flops / 6 / params
  noise = (0.002 if name == STUDIES[0] else 0.005) * random.standard_normal(len(params))
  noise[::40] += 0.4
  return params, tokens, (e + a * params**-alpha + b * tokens**-beta) * np.exp(noise)


if __name__ == "__main__":
  sys.exit(main())
