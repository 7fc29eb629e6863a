"""Which layout for a model on how many devices, on paper: memory, traffic and time of a step, up to 10^5 devices.

  uv run experiments/scale_out.py --params=70e9 --devices=1024
  uv run experiments/scale_out.py --params=70e9 --devices=1024 --plot=scale_out.png

Prints the best layouts of that many devices, and the best one for more and fewer of them. Nothing is measured here:
the equations are in gen/costs/scale_out.py, what they assume in docs/scaling_up.md.
"""

from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

PARAMS = quantities.DEFINE_float("params", 70e9, "Parameters of the decoder.", lower_bound=0)
DEVICES = quantities.DEFINE_integer("devices", 1024, "Accelerators.", lower_bound=1, upper_bound=2**31 - 1)
CLUSTER = flags.DEFINE_enum("cluster", "h100", ("a100", "h100"), "What they are, in machines of 8.")
TOKENS = quantities.DEFINE_float("tokens", 4e6, "Tokens of a step.", lower_bound=0)
LENGTH = quantities.DEFINE_integer("length", 2048, "Tokens of a row.", lower_bound=1, upper_bound=2**31 - 1)
SHOWN = quantities.DEFINE_integer("shown", 5, "Layouts to show.", lower_bound=1)
PLOT = outputs.DEFINE_file(
  "plot",
  "",
  "Draw efficiency against devices into this file (.png, .pdf).",
  suffixes=(".png", ".pdf", ".svg"),
)
JSON = outputs.DEFINE_json()


def main() -> None:
  """Ranks and reports."""
  for name, value in (("params", PARAMS.value), ("tokens", TOKENS.value), ("length", LENGTH.value)):
    if not 1 <= value < float("inf"):
      raise UserError(f"--{name}={value:g}: it must be a number of at least 1")
  if DEVICES.value < 1:
    raise UserError(f"--devices={DEVICES.value}: it must be at least 1")
  if PLOT.value and not Path(PLOT.value).parent.is_dir():
    raise UserError(f"--plot={PLOT.value}: no folder {Path(PLOT.value).parent}; make it first")
  from gen.costs import scale_out
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  cluster = scale_out.CLUSTERS[CLUSTER.value]
  job = scale_out.TrainingJob(PARAMS.value, TOKENS.value, LENGTH.value)
  scale_out.fastest_layout(job, cluster, DEVICES.value)  # or says why there is none
  ranked = sorted(scale_out.fitting_layouts(job, cluster, DEVICES.value), key=lambda one: one.seconds)
  others = _others(job, cluster)
  rows = [_row(one, DEVICES.value) for one in ranked[: SHOWN.value]]
  if PLOT.value:
    from gen.costs import scale_out_figure

    scale_out_figure.write_figure(
      cluster, TOKENS.value, LENGTH.value, f"devices ({CLUSTER.value})", PLOT.value
    )
  json_report.write_report({"layouts": rows, "by_devices": others}, target)
  print(
    f"{job.parameters:.3g} parameters, {job.rows:,} rows of {job.length:,} tokens a step,"
    f" {DEVICES.value:,} {CLUSTER.value}"
  )
  _table(rows)
  print("\nthe best of other numbers of devices")
  _table(others)


def _others(job: Any, cluster: Any) -> list[dict[str, Any]]:
  from gen.costs import scale_out

  rows = []
  for power in range(18):
    try:
      rows.append(_row(scale_out.fastest_layout(job, cluster, 2**power), 2**power))
    except UserError:
      continue
  return rows


def _row(found: Any, devices: int) -> dict[str, Any]:
  from gen.costs import scale_out

  numbers = found._asdict() | {"memory": found.memory, "efficiency": scale_out.useful_share(found)}
  return {"devices": devices, "mesh": found.mesh} | numbers


def _table(rows: list[dict[str, Any]]) -> None:
  print(
    f"{'devices':>8}  {'mesh':<32} {'parts':>5} {'GB state':>9} {'GB in all':>9} {'s a step':>9} {'efficiency':>10}"
  )
  for row in rows:
    print(
      f"{row['devices']:>8,}  {row['mesh']:<32} {row['microbatches']:>5} {row['state'] / 1e9:>9.2f}"
      f" {row['memory'] / 1e9:>9.2f} {row['seconds']:>9.3g} {row['efficiency']:>10.2f}"
    )


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
