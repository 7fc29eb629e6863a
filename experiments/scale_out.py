"""Which layout suits a model on many devices? Memory, traffic and time of a step on paper, up to 10^5 devices.

  uv run experiments/scale_out.py --params=70e9 --devices=1024
  uv run experiments/scale_out.py --params=70e9 --devices=1024 --plot=scale_out.png

Prints the fastest layouts of that many devices, and the fastest one of other numbers of devices. Nothing is measured:
gen/costs/scale_out.py has the equations, docs/scaling_up.md their assumptions.
"""

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

PARAMS = quantities.DEFINE_float("params", 70e9, "Parameters of the decoder.", lower_bound=0)
DEVICES = quantities.DEFINE_integer("devices", 1024, "Accelerators.", lower_bound=1, upper_bound=2**31 - 1)
CLUSTER = flags.DEFINE_enum("cluster", "h100", ("a100", "h100"), "Kind of accelerator, in machines of 8.")
TOKENS = quantities.DEFINE_float("tokens", 4e6, "Tokens per step.", lower_bound=0)
LENGTH = quantities.DEFINE_integer("length", 2048, "Tokens per row.", lower_bound=1, upper_bound=2**31 - 1)
SHOWN = quantities.DEFINE_integer("shown", 5, "Layouts to print.", lower_bound=1)
PLOT = outputs.DEFINE_file(
  "plot",
  "",
  "File for a figure of efficiency against devices (.png, .pdf, .svg).",
  suffixes=(".png", ".pdf", ".svg"),
)
JSON = outputs.DEFINE_json()


def main() -> None:
  """Ranks the layouts and prints them."""
  for name, value in (("params", PARAMS.value), ("tokens", TOKENS.value), ("length", LENGTH.value)):
    if not 1 <= value < float("inf"):
      raise UserError(f"--{name}={value:g}: give a number of at least 1")
  from gen.costs import scale_out, scale_out_figure, scale_out_report
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  cluster = scale_out.CLUSTERS[CLUSTER.value]
  job = scale_out.TrainingJob(PARAMS.value, TOKENS.value, LENGTH.value)
  rows = scale_out_report.ranked_rows(job, cluster, DEVICES.value, SHOWN.value)
  others = scale_out_report.best_by_devices(job, cluster)
  if PLOT.value:
    label = f"devices ({CLUSTER.value})"
    scale_out_figure.write_figure(cluster, TOKENS.value, LENGTH.value, label, PLOT.value)
  json_report.write_report({"layouts": rows, "by_devices": others}, target)
  print(
    f"{job.parameters:.3g} parameters, {job.rows:,} rows of {job.length:,} tokens per step,"
    f" {DEVICES.value:,} {CLUSTER.value}"
  )
  print("\n".join(scale_out_report.table_lines(rows)))
  print("\nthe fastest layout of other numbers of devices")
  print("\n".join(scale_out_report.table_lines(others)))


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
