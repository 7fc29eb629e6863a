"""Identifies the run that owns a folder; its config, checkpoints and journal must all name the same run.

The config is written atomically. Checkpoints and journals hold a copy of it under a checksum. So a lost config is
rewritten from the command line only if they name the same run, and an edited config is refused.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from gen.config import Run, config_hash, from_dict, identity_fields, to_dict
from gen.errors import UserError
from gen.io import checksums, formats, json_reading
from gen.training import checkpoint_folder, journal

CONFIG, CHECKPOINTS, JOURNAL = "config.json", "checkpoints", "journal.jsonl"  # of a run, in its folder


class AnotherRun(UserError):
  """The folder holds a different run than the caller's.

  Attributes:
    before: the run in the folder.
    run: the run that it was opened for.
  """

  def __init__(self, workdir: Path, before: Run, run: Run) -> None:
    """Names the folder and what differs."""
    self.before, self.run = before, run
    super().__init__(
      f"{workdir} holds another run ({_named(before, run)}); choose another --workdir or remove it"
    )


def claim_folder(workdir: Path, run: Run) -> None:
  """Writes the config of a run into its folder, after checking that the folder holds no other run.

  Raises:
    UserError: for a folder that holds another run, or cannot be written.
  """
  before = _compare(workdir, lambda _: run)
  if before is None or to_dict(before) != to_dict(run):
    checksums.write_atomically(workdir / CONFIG, config_text(run))


def config_text(run: Run) -> bytes:
  """Returns the content of config.json in the folder of a run."""
  values = formats.with_format(to_dict(run), formats.RUN_FOLDER)
  return (json.dumps(values, indent=1) + "\n").encode()


def check_folder(workdir: Path, run: Run) -> None:
  """Checks a folder as `claim_folder` does, before anything is built, for a run whose vocabulary is not yet derived.

  Raises:
    UserError: for a folder that holds another run.
  """

  def completed(before: Run) -> Run:
    vocab, context = run.model.vocab or before.model.vocab, run.model.context or before.model.context
    return dataclasses.replace(run, model=dataclasses.replace(run.model, vocab=vocab, context=context))

  _compare(workdir, completed)


def saved_run(folder: Path, step: int | None = None) -> Run:
  """Returns the config of the run in a folder, after comparing it with what a checkpoint was saved with.

  Args:
    folder: of the run.
    step: of the checkpoint; None is the latest, if there is one.

  Raises:
    UserError: if there is no config, or it is not the checkpoint's.
  """
  path = folder / CONFIG
  if not path.is_file():
    raise UserError(f"{folder} has no {CONFIG}, so it is no run; give the --workdir of one")
  run = _saved_config(json_reading.read_json(path), path)
  steps = checkpoint_folder.complete_steps(folder / CHECKPOINTS)
  if step is None and not steps:
    return run
  chosen = steps[-1] if step is None else step
  meta = checkpoint_folder.read_record(folder / CHECKPOINTS, chosen)["meta"]
  where = f"checkpoint {checkpoint_folder.path_of(folder / CHECKPOINTS, chosen)}"
  copy = _run(meta["config"], where) if "config" in meta else run
  if config_hash(copy) != config_hash(run):
    raise UserError(f"{path} is not what {where} was saved with ({_named(copy, run)}); restore the file")
  return run


def stored_result(workdir: Path, run: Run, corpus_sha256: str) -> dict[str, Any] | None:
  """Returns the result of a run if its journal has one, after checking that the journal is whole and the run's.

  Raises:
    UserError: for a journal that is not, or a result on another corpus.
  """
  path = workdir / JOURNAL
  for number, row in enumerate(journal.read_journal(path, sealed=True), 1):
    if row.get("run") != config_hash(run):
      raise UserError(
        f"line {number} of {path} is of run {row.get('run')}, not of {config_hash(run)}; choose another --workdir"
      )
    if row.get("kind") != "result":
      continue
    if row.get("corpus_sha256") != corpus_sha256:
      raise UserError(
        f"{workdir} holds this run on another corpus ({str(row.get('corpus_sha256'))[:12]}); choose another"
      )
    for where, meta in _metas(workdir):
      if isinstance(meta.get("journal"), dict):
        journal.require_rows(path, meta["journal"], where)
    return row
  return None


def _compare(workdir: Path, run_beside: Callable[[Run], Run]) -> Run | None:
  """Compares a run with all that the folder holds; returns its config, or None where it must be written.

  Args:
    workdir: the folder.
    run_beside: returns the run, given another that may be the same.
  """
  before, copies = _config(workdir), list(_copies(workdir))
  for where, copy in copies:
    # The config first: who edited it is told so, and not that the command line is wrong.
    if before is not None and config_hash(copy) != config_hash(before):
      raise UserError(
        f"{workdir / CONFIG} is not what {where} was written with ({_named(copy, before)}); restore the file, or "
        "choose another --workdir"
      )
  for copy in [*([before] if before is not None else []), *(copy for _, copy in copies)]:
    run = run_beside(copy)
    if config_hash(copy) != config_hash(run):
      raise AnotherRun(workdir, copy, run)
  if before is None and not copies and (workdir / CONFIG).is_file() and (workdir / CONFIG).stat().st_size:
    raise UserError(
      f"{workdir / CONFIG} is not the config of a run; choose another --workdir, or remove the file"
    )
  return before


def _config(workdir: Path) -> Run | None:
  """Returns the config of a folder, or None where it is lost; one that is of no run is refused by the caller."""
  path = workdir / CONFIG
  try:
    values = json_reading.read_json(path)
  except UserError:
    return None
  return _saved_config(values, path)


def _saved_config(values: dict[str, Any], path: Path) -> Run:
  return _run(formats.without_format(values, formats.RUN_FOLDER, str(path), formats.REMEDY), str(path))


def _copies(workdir: Path) -> Iterator[tuple[str, Run]]:
  """Yields (where, config) for each copy under a checksum."""
  for where, meta in _metas(workdir):
    if "config" in meta:
      yield where, _run(meta["config"], where)
  path = workdir / JOURNAL
  for number, row in enumerate(journal.read_journal(path, sealed=True), 1):
    if "config" in row:
      where = f"line {number} of {path}"
      yield where, _run(row["config"], where)


def _metas(workdir: Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields (where, meta) for each checkpoint whose meta is as it was written, the latest first."""
  folder = workdir / CHECKPOINTS
  for step in reversed(checkpoint_folder.complete_steps(folder)):
    with contextlib.suppress(UserError):  # A restore says what is damaged, and goes back to the step before.
      yield (
        f"checkpoint {checkpoint_folder.path_of(folder, step)}",
        checkpoint_folder.read_record(folder, step)["meta"],
      )


def _run(values: Any, where: str) -> Run:
  try:
    return cast(Run, from_dict(Run, values))
  except UserError as error:
    raise UserError(f"{where}: {error}") from None


def _named(before: Run, run: Run) -> str:
  """Returns which fields differ, and how."""
  old, new = json.loads(json.dumps([identity_fields(before), identity_fields(run)]))
  return ", ".join(f"{name}: {first} -> {second}" for name, first, second in field_differences(old, new))


def field_differences(
  before: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
  """Yields (path, value before, value now) of fields that differ.

  >>> list(field_differences({"model": {"width": 8, "depth": 1}}, {"model": {"width": 9, "depth": 1}}))
  [('model.width', 8, 9)]
  """
  for name in [*before, *(name for name in now if name not in before)]:
    old, new = before.get(name), now.get(name)
    if isinstance(old, dict) and isinstance(new, dict):
      yield from field_differences(old, new, f"{prefix}{name}.")
    elif old != new:
      yield prefix + name, old, new
