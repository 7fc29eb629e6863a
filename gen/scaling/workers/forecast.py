"""How long a sweep will take on this machine, said before its first run: from a matrix product that is timed now.

A run of width D reaches SHARE D / (D + 24) of the rate of large float32 products on a core, as the runs in
results/full and results/chinchilla did; each also starts and compiles. Other programs on the machine slow both down,
and they come and go: so the forecast is a range, which measured rates replace as soon as there are any.
"""

import os
from collections.abc import Sequence

from gen.config import Run
from gen.io import quantities
from gen.scaling.planning import budgets
from gen.scaling.sweeps import trunk_sweeps
from gen.scaling.workers import pool

SHARE = 0.6  # of a core's rate, by a wide model's step
NARROW = 24.0  # width at which it is half of that
# Of a run on an idle core: start, compilation, checkpoints; chosen, and replaced by what the first runs take.
START_SECONDS = 3.0
# Times the forecast; chosen: other programs slow a machine down more than they ever speed it up.
RANGE = (0.6, 2.0)


def sweep_seconds(runs: Sequence[Run], workers: int, core_flops: float, crowd: float = 1.0) -> float:
  """Returns the wall time of runs on a machine.

  Args:
    runs: what is left to train.
    workers: processes that train them.
    core_flops: FLOP/s of large float32 products on one core, other programs beside.
    crowd: programs that want a core, for each core there is; at most 1 is an idle machine.
  """
  start = START_SECONDS * max(1.0, crowd)
  each = [
    start + trunk_sweeps.own_share(run) * run.flops * (1 + NARROW / run.model.width) / (SHARE * core_flops)
    for run in runs
  ]
  return max(sum(each) / workers, max(each, default=0.0))


def sweep_sentence(runs: Sequence[Run], workers: int) -> str:
  """Returns what is to be trained and how long it takes here, by what this machine does now."""
  cores = len(pool.pool_cores())
  load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
  rate = budgets.machine_rate()
  middle = sweep_seconds(runs, workers, rate / cores, (load + min(workers, cores)) / cores)
  low, high = (quantities.format_seconds(times * middle) for times in RANGE)
  flops = sum(trunk_sweeps.own_share(run) * run.flops for run in runs)
  return (
    f"{len(runs)} runs to train, {flops:.2g} FLOPs: {low} to {high} on {workers} workers, by {rate / 1e9:.0f} GFLOP/s "
    f"of {cores} cores just now at a load of {load:.1f}; the estimate is corrected as runs are measured"
  )
