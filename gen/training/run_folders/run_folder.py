"""Identifies the run that owns a folder; its config, checkpoints and journal must all be of the same run.

The config is written atomically. Checkpoints and journals have a copy of it under a checksum. So a lost config is only
rewritten from the command line if these are of the same run, and an edited config is refused.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from gen.config import Run, config_hash, from_dict, identity_fields, to_dict, user_sources
from gen.errors import UserError
from gen.io import checksums, formats, json_reading
from gen.training.checkpointing import checkpoint_folder
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.run_folders import lineage
from gen.training.run_log import journal
from gen.training.run_log.rows import RowValues

CONFIG, CHECKPOINTS, JOURNAL = "config.json", "checkpoints", "journal.jsonl"  # of a run, in its folder
TOKENIZER = "tokenizer"  # folder beside the checkpoints: what their ids mean


class AnotherRun(UserError):
  """The folder holds another run than the caller's.

  Attributes:
    before: the run in the folder.
    run: the caller's run.
  """

  def __init__(self, workdir: Path, before: Run, run: Run) -> None:
    """Makes the message, which names the folder and the fields that differ."""
    self.before, self.run = before, run
    sentence = (
      f"{workdir} holds another run ({_differences(before, run)}); choose another --workdir, or remove it"
    )
    if checkpoint_folder.complete_steps(workdir / CHECKPOINTS):
      sentence += f"; in another --workdir, --config.start_from={workdir} starts from its parameters"
    super().__init__(sentence)


def claim_folder(workdir: Path, run: Run) -> None:
  """Writes the config of a run into its folder, after checking that the folder holds no other run.

  Raises:
    UserError: for a folder that holds another run, or cannot be written.
  """
  before = _compare(workdir, lambda _: run)
  # Fields outside the identity, such as the mesh, may change; the file then holds those of the last call.
  if before is None or to_dict(before) != to_dict(run):
    checksums.write_atomically(workdir / CONFIG, config_text(run))


def config_text(run: Run) -> bytes:
  """Returns the content of config.json in the folder of a run."""
  values = formats.with_format(to_dict(run), formats.RUN_FOLDER)
  return (json.dumps(values, indent=1) + "\n").encode()


def check_folder(workdir: Path, run: Run) -> None:
  """Checks a folder as `claim_folder` does, but for a run whose vocabulary is not derived yet.

  So the check comes before the corpus is built.

  Raises:
    UserError: for a folder that holds another run.
  """

  def completed(before: Run) -> Run:
    # Both are derived from the corpus; those of the run in the folder stand in for them, as equal runs derive equal
    # ones.
    vocab, context = run.model.vocab or before.model.vocab, run.model.context or before.model.context
    model = dataclasses.replace(run.model, vocab=vocab, context=context)
    return user_sources.with_sources(dataclasses.replace(run, model=model))

  _compare(workdir, completed)


def saved_run(folder: Path, step: int | None = None) -> Run:
  """Returns the config of the run in a folder, after comparing it with the copy in a checkpoint.

  Args:
    folder: of the run.
    step: of the checkpoint; None is the latest, if there is one.

  Raises:
    UserError: if there is no config, or it differs from the checkpoint's.
  """
  path = folder / CONFIG
  if not path.is_file():
    raise UserError(
      f"{folder} has no {CONFIG}, so it is not the folder of a run; give the --workdir of a run"
    )
  run = _saved_config(json_reading.read_json(path), path)
  steps = checkpoint_folder.complete_steps(folder / CHECKPOINTS)
  if step is None and not steps:
    return run
  chosen = steps[-1] if step is None else step
  meta = checkpoint_folder.read_record(folder / CHECKPOINTS, chosen)["meta"]
  checkpoint = f"checkpoint {checkpoint_folder.path_of(folder / CHECKPOINTS, chosen)}"
  # Folders that were imported from another format have checkpoints without a copy.
  copy = _run(meta["config"], checkpoint) if "config" in meta else run
  # The cache's format is no part of what a run is, but changes what it generates.
  cache_differs = copy.model.cache_format != run.model.cache_format
  if cache_differs or not lineage.read_lineage(folder).joins(config_hash(copy), config_hash(run)):
    raise UserError(
      f"{path} differs from the config in {checkpoint} ({_differences(copy, run)}); restore the file"
    )
  return run


def has_result(workdir: Path, run: Run) -> bool:
  """Returns whether the journal has a result of a completed run, whose claim on the folder is not checked."""
  rows = journal.read_journal(workdir / JOURNAL)
  return any(row.get("kind") == "result" and row.get("run") == config_hash(run) for row in rows)


def stored_result(workdir: Path, run: Run, corpus_sha256: str) -> RowValues | None:
  """Returns the result of a run if its journal has one, after checking that the journal is complete and the run's.

  Raises:
    UserError: for an incomplete journal, one of another run, or a result on another corpus.
  """
  path, own = workdir / JOURNAL, config_hash(run)
  runs = lineage.read_lineage(workdir)
  for number, row in enumerate(journal.read_journal(path, sealed=True), 1):
    if not runs.accepts(own, str(row.get("run"))):
      raise UserError(
        f"line {number} of {path} is of run {row.get('run')}, not of {own}; choose another --workdir"
      )
    # A result of an earlier, shorter run does not finish this one.
    if row.get("kind") != "result" or row.get("run") != own:
      continue
    if row.get("corpus_sha256") != corpus_sha256:
      raise UserError(
        f"{workdir} holds this run on another corpus ({str(row.get('corpus_sha256'))[:12]}); choose another --workdir"
      )
    for checkpoint, meta in _metas(workdir):
      if isinstance(meta.get("journal"), dict):
        journal.require_rows(path, meta["journal"], checkpoint)
    return row
  return None


def _compare(workdir: Path, run_beside: Callable[[Run], Run]) -> Run | None:
  """Compares a run with the config and its copies in a folder.

  Args:
    workdir: the folder.
    run_beside: returns the caller's run, completed from a run in the folder.

  Returns:
    The folder's config, or None if it must be written.
  """
  before, copies = _config(workdir), list(_copies(workdir))
  runs = lineage.read_lineage(workdir)
  # Each copy is under a checksum and the config is not, so a difference means that the config was edited.
  for owner, copy in copies:
    # Checked before the caller's run: after an edit of the config the message is about the config.
    if before is not None and not runs.joins(config_hash(copy), config_hash(before)):
      raise UserError(
        f"{workdir / CONFIG} differs from the config in {owner} ({_differences(copy, before)}); restore the file, or "
        "choose another --workdir"
      )
  for copy in [*([before] if before is not None else []), *(copy for _, copy in copies)]:
    run = run_beside(copy)
    if not runs.accepts(config_hash(run), config_hash(copy)):
      raise AnotherRun(workdir, copy, run)
  if before is None and not copies and (workdir / CONFIG).is_file() and (workdir / CONFIG).stat().st_size:
    raise UserError(
      f"{workdir / CONFIG} is not the config of a run; choose another --workdir, or remove the file"
    )
  return before


def _config(workdir: Path) -> Run | None:
  """Returns the config of a folder, or None if it is absent or unreadable."""
  path = workdir / CONFIG
  try:
    values = json_reading.read_json(path)
  # A config cut short by a crash counts as absent: the copies under a checksum decide, and it is written again.
  except UserError:
    return None
  return _saved_config(values, path)


def _saved_config(values: dict[str, object], path: Path) -> Run:
  return _run(formats.without_format(values, formats.RUN_FOLDER, str(path), formats.REMEDY), str(path))


def _copies(workdir: Path) -> Iterator[tuple[str, Run]]:
  """Yields (owner, config) for each copy under a checksum."""
  for checkpoint, meta in _metas(workdir):
    if "config" in meta:
      yield checkpoint, _run(meta["config"], checkpoint)
  path = workdir / JOURNAL
  for number, row in enumerate(journal.read_journal(path, sealed=True), 1):
    if "config" in row:
      line = f"line {number} of {path}"
      yield line, _run(row["config"], line)


def _metas(workdir: Path) -> Iterator[tuple[str, CheckpointMeta]]:
  """Yields (checkpoint, meta) for each checkpoint whose meta is undamaged, the latest first."""
  folder = workdir / CHECKPOINTS
  for step in reversed(checkpoint_folder.complete_steps(folder)):
    # A later restore reports the damage and falls back to the step before.
    with contextlib.suppress(UserError):
      yield (
        f"checkpoint {checkpoint_folder.path_of(folder, step)}",
        checkpoint_folder.read_record(folder, step)["meta"],
      )


def _run(values: Any, owner: str) -> Run:
  try:
    return cast(Run, from_dict(Run, values))
  except UserError as error:
    raise UserError(f"{owner}: {error}") from None


def _differences(before: Run, run: Run) -> str:
  """Returns the fields that differ, with both values."""
  old_fields, new_fields = json.loads(json.dumps([identity_fields(before), identity_fields(run)]))
  return ", ".join(f"{name}: {old} -> {new}" for name, old, new in field_differences(old_fields, new_fields))


def field_differences(
  before: Mapping[str, object], now: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, object, object]]:
  """Yields (path, value before, value now) of fields that differ.

  >>> list(field_differences({"model": {"width": 8, "depth": 1}}, {"model": {"width": 9, "depth": 1}}))
  [('model.width', 8, 9)]
  """
  # Fields of both sides, in the order in which the config defines them.
  for name in [*before, *(name for name in now if name not in before)]:
    old, new = before.get(name), now.get(name)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
      yield from field_differences(old, new, f"{prefix}{name}.")
    elif old != new:
      yield prefix + name, old, new
