"""Draws the losses of runs side by side, with a table of what differs between their configs.

    scripts/plot_runs.py runs/a runs/b                       the table
    scripts/plot_runs.py runs/a runs/b --plot=runs.png       against --x: steps, tokens, flops or seconds
    scripts/plot_runs.py runs/* --html=runs.html             one page with all four
    scripts/plot_runs.py runs/sweep --json=-                 the points as JSON

A folder is the --workdir of a run, or of a sweep with many runs.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from gen.cli import terminal
from gen.errors import UserError
from gen.evaluation import run_curves
from gen.io import json_report, outputs


def main(arguments: list[str] | None = None) -> int:
  """Reads, prints and draws; returns the exit code: 0, or 2 for a mistake."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("folders", nargs="+", metavar="FOLDER")
  parser.add_argument("--x", choices=run_curves.AXES, default="steps", help="horizontal axis of --plot")
  parser.add_argument("--log", action="store_true", help="logarithmic axes")
  parser.add_argument("--plot", default="", metavar="FILE.png", help="write the figure")
  parser.add_argument("--html", default="", metavar="FILE.html", help="write one page")
  parser.add_argument("--json", default="", metavar="FILE", help="write the points; - is standard output")
  flags = parser.parse_args(arguments)
  try:
    with outputs.json_alone(flags.json) if flags.json == "-" else contextlib.nullcontext():
      return _plot(flags)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _plot(flags: argparse.Namespace) -> int:
  _check_output("--plot", flags.plot)
  _check_output("--html", flags.html)
  target = json_report.report_target(flags.json)
  runs = run_curves.read_runs(flags.folders)
  print("\n".join(run_curves.summary_lines(runs)))
  if flags.plot or flags.html:
    from gen.evaluation import run_curves_figure  # matplotlib, which the table does not need

    if flags.plot:
      run_curves_figure.save_png(runs, Path(flags.plot), flags.x, logarithmic=flags.log)
      print(f"wrote {flags.plot}", file=sys.stderr)
    if flags.html:
      run_curves_figure.write_page(runs, Path(flags.html), logarithmic=flags.log)
      print(f"wrote {flags.html}", file=sys.stderr)
  report = {
    "runs": [run_curves.run_report(run) for run in runs],
    "differences": run_curves.config_differences(runs),
  }
  json_report.write_report(report, target)
  return 0


def _check_output(flag: str, path: str) -> None:
  if path:
    try:
      outputs.check_file(path)
    except ValueError as error:
      raise UserError(f"{flag}={error}") from error


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
