"""Writes the report of an experiment as strict JSON to the file of `--json=PATH`; - is standard output."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gen.errors import UserError
from gen.io import formats, outputs, seals, strict_json, typed_json
from gen.io.checksums import write_atomically

STANDARD_OUTPUT = Path("-")


def report_target(path: str) -> Path | None:
  """Returns the path of the report (None for no report), after checking that it can be written.

  Raises:
    UserError: if it is a folder, or its folder does not exist.
  """
  if not path:
    return None
  try:
    outputs.check_file(path)
  except ValueError as error:
    raise UserError(f"--json={error}, or - for standard output") from error
  return Path(path)


def print_note(text: str, target: str) -> None:
  """Prints a line on standard error; prints nothing if the report goes to standard output.

  Args:
    text: the line, such as which column was taken for what, or progress.
    target: the value of `--json`.
  """
  if target != str(STANDARD_OUTPUT):
    print(text, file=sys.stderr, flush=True)


def write_report(report: object, path: Path | None, summary: Iterable[str] = ()) -> None:
  """Writes the report; numbers that JSON does not have (NaN, infinities) become null.

  Args:
    report: a record, or plain values and records.
    path: as `report_target` returned it; None writes nothing.
    summary: lines for standard error if the report goes to a file.

  Raises:
    UserError: if the file cannot be written.
  """
  if path is None:
    return
  text = strict_json.encode_json(typed_json.encode_value(report))
  if path == STANDARD_OUTPUT:
    print(text.decode(), end="", file=outputs.json_stream(), flush=True)
    return
  try:
    path.write_bytes(text)
  except OSError as error:
    raise UserError(f"cannot write {path}: {error.strerror}") from error
  for line in summary:
    print(line, file=sys.stderr)


def write_results(results: object, file: Path, target: Path | None) -> None:
  """Writes an experiment's results into its work folder, and where `--json` asks for them.

  Args:
    results: a record, or plain values and records.
    file: the file in the work folder.
    target: as of `write_report`.

  Raises:
    UserError: if a file cannot be written.
  """
  try:
    file.write_text(json.dumps(typed_json.encode_value(results), indent=1) + "\n")
  except OSError as error:
    raise UserError(f"cannot write {file}: {error.strerror}") from error
  write_report(results, target)


def write_sealed(results: Mapping[str, object], file: Path) -> dict[str, object]:
  """Writes results with their format version and a checksum, in one rename; returns them as they were written.

  Args:
    results: plain values; numbers that JSON does not have become null.
    file: where to write.

  Raises:
    OSError: if the file cannot be written.
  """
  versioned = formats.with_format(results, formats.RESULTS)
  sealed = seals.with_seal(json.loads(strict_json.encode_json(versioned)))
  write_atomically(file, json.dumps(sealed, indent=1).encode() + b"\n")
  return sealed


def write_study(
  results: Mapping[str, object], file: Path, target: Path | None, draw: Callable[[], Iterable[Path]] = tuple
) -> list[Path]:
  """Writes the sealed results of finished runs beside their figures, and where `--json` asks for them.

  Args:
    results: as of `write_sealed`.
    file: of the results, in the folder of the runs.
    target: as of `write_report`.
    draw: writes the figures and returns their files.

  Returns:
    the files in that folder.

  Raises:
    UserError: if a file cannot be written.
  """
  try:
    written = write_sealed(results, file)
    drawn = list(draw())
  except OSError as error:
    raise UserError(
      f"cannot write in {file.parent}: {error.strerror}; all runs are done and saved"
    ) from error
  write_report(written, target)
  return [file, *drawn]
