"""Measures what rounding to few bits adds to the loss of finished runs of a study; each measurement is kept.

measurements.jsonl   one row for each run and number of bits
results.json         the fitted law with intervals, and all rows
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config import Run
from gen.errors import UserError
from gen.generation import loaded_model
from gen.io import checksums, json_lines, json_reading
from gen.quantization import comparison, quantization_text, rounding
from gen.scaling.precision import precision_law
from gen.scaling.precision.precision_law import RoundedLoss
from gen.training.checkpointing import checkpoint_folder, quantized_checkpoints
from gen.training.run_folders import run_folder
from gen.training.run_log import journal

MEASUREMENTS, RESULTS = "measurements.jsonl", "results.json"
Report = Callable[[str], None]


class StudyRun(NamedTuple):
  """A finished run.

  Attributes:
    folder: of the run.
    run: its config.
    params: N, matrix parameters.
    tokens: D.
    step: of its last checkpoint.
  """

  folder: Path
  run: Run
  params: int
  tokens: int
  step: int


def find_runs(study: Path) -> list[StudyRun]:
  """Returns the finished runs in the subfolders of a study, by size and tokens.

  Raises:
    UserError: if there are none, or their corpora differ.
  """
  if not study.is_dir():
    raise UserError(f"{study} is not a folder; give the --workdir of a sweep, or a folder of runs")
  runs = [found for path in sorted(study.iterdir()) if (found := _finished(path)) is not None]
  if not runs:
    raise UserError(
      f"{study} holds no finished run with a checkpoint; give a sweep whose checkpoints were kept"
    )
  # Nats per token compare only over one tokenizer and one text.
  corpora = {(each.run.data.corpus, each.run.data.tokenizer, each.run.data.vocab) for each in runs}
  if len(corpora) > 1:
    raise UserError(
      f"the runs in {study} read {len(corpora)} different corpora or tokenizers; keep runs of one"
    )
  return sorted(runs, key=lambda each: (each.params, each.tokens))


def _finished(folder: Path) -> StudyRun | None:
  """Returns a run with its result and a checkpoint of its last step; None for anything else."""
  if not (folder / run_folder.CONFIG).is_file() or not (folder / run_folder.CHECKPOINTS).is_dir():
    return None
  steps = checkpoint_folder.complete_steps(folder / run_folder.CHECKPOINTS)
  rows = [row for row in journal.read_journal(folder / run_folder.JOURNAL) if row.get("kind") == "result"]
  # An earlier checkpoint would be measured against the tokens of the result.
  if not steps or not rows or rows[-1]["steps"] != steps[-1]:
    return None
  meta = checkpoint_folder.read_record(folder / run_folder.CHECKPOINTS, steps[-1])["meta"]
  # Rounded twice, its added loss would be that of both roundings.
  if quantized_checkpoints.ENTRY in meta:
    return None
  return StudyRun(folder, run_folder.saved_run(folder), rows[-1]["params"], rows[-1]["tokens"], steps[-1])


def measure_runs(
  runs: Sequence[StudyRun], bits: Sequence[int], workdir: Path, report: Report, seed: int = 0
) -> list[RoundedLoss]:
  """Returns the added loss of each run and number of bits; what the work folder has is not measured again.

  Args:
    runs: of a study.
    bits: numbers of bits.
    workdir: folder of the measurements; created if absent.
    report: called with progress.
    seed: of the bootstrap.

  Raises:
    UserError: for a folder that cannot be written, or measurements of other runs.
  """
  path = workdir / MEASUREMENTS
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"{workdir} cannot be created: {error.strerror}") from None
  done = _read_done(path)
  rows: list[RoundedLoss] = []
  for each in runs:
    missing = [count for count in bits if _key(each, count) not in done]
    if missing:
      for row in _measure(each, missing, report, seed):
        done[_key(each, int(row.bits))] = row
        # As soon as it is measured: an interrupted study loses one run at most.
        _append(path, each, row)
    rows += [done[_key(each, count)] for count in bits]
  return rows


def _key(each: StudyRun, bits: int) -> tuple[str, int, int]:
  return each.folder.name, each.step, bits


def _measure(each: StudyRun, bits: Sequence[int], report: Report, seed: int) -> list[RoundedLoss]:
  loaded = loaded_model.load_model(each.folder, each.step, None, report)
  text = quantization_text.open_text(each.run, loaded.tokenizer, report=report)
  held_out = quantization_text.comparison_batches(each.run, text.held_out)
  # Once for all numbers of bits. Rounded weights have the shapes and the type of the others, so no program is compiled
  # again.
  before = comparison.batch_losses(loaded.model, loaded.params, held_out)
  rows = []
  for count in bits:
    rounded = rounding.round_model(loaded.params, loaded.model, count)
    found = comparison.pair_losses(before, comparison.batch_losses(loaded.model, rounded, held_out), seed)
    report(
      f"{each.folder.name}, N {each.params:,}, D {each.tokens:,}, {count} bits: {found.difference:+.5f} "
      f"[{found.low:+.5f}, {found.high:+.5f}] nats"
    )
    rows.append(
      RoundedLoss(
        each.folder.name,
        each.params,
        each.tokens,
        count,
        found.before,
        found.difference,
        found.low,
        found.high,
      )
    )
  return rows


def _append(path: Path, each: StudyRun, row: RoundedLoss) -> None:
  values = {"step": each.step, **{name: getattr(row, name) for name in precision_law.FIELDS}}
  try:
    with path.open("a", encoding="utf-8") as file:
      file.write(json.dumps(values) + "\n")
  except OSError as error:
    raise UserError(f"{path} cannot be written: {error.strerror}") from None


def _read_done(path: Path) -> dict[tuple[str, int, int], RoundedLoss]:
  """Returns the measurements of a work folder; a last line that a crash cut off is measured again."""
  if not path.is_file():
    return {}
  done = {}
  numbers = dict.fromkeys(("N", "D", "bits", "loss", "added", "low", "high"), float)
  kinds: dict[str, Any] = {"run": str, "step": int, **numbers}
  text = path.read_text("utf-8")
  for number, values in enumerate(json_lines.parse_rows(text, str(path)), 1):
    for name, kind in kinds.items():
      json_reading.require_field(values, name, kind, f"line {number} of {path}")
    row = RoundedLoss(**{name: values[name] for name in precision_law.FIELDS})
    done[(row.run, values["step"], int(row.bits))] = row
  # The torn line is cut off, since the next row would otherwise be appended to it.
  if text and not text.endswith("\n"):
    checksums.write_atomically(path, text[: text.rfind("\n") + 1].encode())
  return done
