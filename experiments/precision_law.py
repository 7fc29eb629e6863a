"""What does rounding to few bits add to the loss, by size, tokens and bits? A law from the runs of a study.

  uv run experiments/precision_law.py --study=runs/chinchilla --workdir=runs/precision_law
  uv run experiments/precision_law.py --study=runs/chinchilla --bits=8,6,5,4,3 --workdir=runs/precision_law --json=-
  uv run experiments/plan.py --memory=100MB --bits=4,8 --tokens=2B --precision_law=runs/precision_law/results.json

It rounds the weights of each finished run to each number of bits, evaluates both on held-out text, and fits
C_T D^g_D / N^g_N exp(-P / g_P) (arXiv:2411.04330) with bootstrap intervals over runs. The largest size is also
predicted from the others. Measurements are kept, and the same command continues.
"""

from pathlib import Path

from absl import flags

from gen.cli import launch, shared_flags, terminal
from gen.errors import UserError
from gen.io import outputs, quantities

STUDY = flags.DEFINE_string("study", "", "Folder with the folders of finished runs, as a sweep's --workdir.")
BITS = flags.DEFINE_list("bits", ["8", "6", "5", "4", "3"], "Numbers of bits, from 2 to 16.")
RESAMPLES = quantities.DEFINE_integer(
  "bootstraps", 1000, "Resamples of runs for the intervals.", 1, 1_000_000
)
SEED = shared_flags.define_seed("bootstrap")
WORKDIR = shared_flags.define_workdir("Folder of the measurements, results.json and the figure; required.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Measures, fits, draws and writes."""
  if not STUDY.value or not WORKDIR.value:
    raise UserError("give --study=FOLDER with finished runs, and --workdir=FOLDER for the measurements")
  from gen import versions
  from gen.io import json_report
  from gen.scaling.precision import precision_figure, precision_law, precision_study

  target = json_report.report_target(JSON.value)
  bits = _read_bits()
  workdir = Path(WORKDIR.value)
  runs = precision_study.find_runs(Path(STUDY.value))
  terminal.print_progress(f"{len(runs)} finished runs; {len(bits)} numbers of bits each")
  rows = precision_study.measure_runs(runs, bits, workdir, terminal.print_progress, SEED.value)
  fit = precision_law.fit_precision(rows, RESAMPLES.value, SEED.value)
  print("\n".join(precision_law.fit_lines(fit)))
  record = {"study": STUDY.value, **precision_law.fit_record(fit, rows)}
  record["versions"] = versions.installed_versions()
  written = json_report.write_study(
    record,
    workdir / precision_study.RESULTS,
    target,
    lambda: precision_figure.write_figure(fit, rows, workdir),
  )
  print(f"written: {', '.join(map(str, written))}")
  return 0


def _read_bits() -> list[int]:
  found = sorted(
    {int(text) for text in BITS.value if text.isascii() and text.strip().isdigit()}, reverse=True
  )
  if len(found) != len(BITS.value) or not found or not 2 <= found[-1] <= found[0] <= 16:
    raise UserError(f"--bits={','.join(BITS.value)}: give different whole numbers from 2 to 16, as 8,6,5,4,3")
  return found


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
