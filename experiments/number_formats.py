"""What are the bits of a number in each format, and what is lost?

  uv run experiments/number_formats.py --number=pi --plot=formats.png
  uv run experiments/number_formats.py --number=0.1 --scale=0.01 --json=-

It shows sign, exponent and fraction of a number in FP32, TF32, FP16, BF16, FP8, INT8, INT4 and NF4, with the error, and
the range, spacing and memory of each format.
"""

from absl import flags

from gen.cli import launch
from gen.io import outputs, quantities

NUMBER = flags.DEFINE_string(
  "number", "pi", "A number such as 3.14, -1e-8, 65504 or 1.5M; pi, e, inf or nan."
)
SCALE = quantities.DEFINE_float(
  "scale", 1.0, "What a step of INT8 and INT4, and the level 1.0 of NF4, stand for.", lower_bound=1e-300
)
PLOT = outputs.DEFINE_file(
  "plot", "", "File for a figure of the bits (.png, .pdf, .svg).", suffixes=(".png", ".pdf", ".svg")
)
JSON = outputs.DEFINE_json()


def main() -> int:
  """Describes the number and reports."""
  from gen.io import json_report
  from gen.precision import format_report

  target = json_report.report_target(JSON.value)
  report = format_report.report_number(format_report.parse_any_number(NUMBER.value), SCALE.value)
  if PLOT.value:
    from gen.precision import format_figure

    format_figure.write_figure(report, PLOT.value)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(format_report.table_lines(report)))
  json_report.write_report(report, target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
