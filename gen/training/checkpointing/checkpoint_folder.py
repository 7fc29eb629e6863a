"""The folder of a run's checkpoints: its steps, their metadata, trees of arrays and damage. Imports no jax.

    FOLDER/000001000/state/...       arrays, in orbax's format
    FOLDER/000001000/meta.json       {"step", "saved" (unix seconds), "bytes", "meta": {...}, "tree": {path: leaf}}
    FOLDER/000001000/manifest.json   checksums of all of the above

Other files, such as a file manager's, are ignored. A step gets its final name, digits only, by one rename after all of
it is on the disk. Folders with a suffix are not checkpoints, except one:

    .partial     is being written
    .old         is being deleted
    .damaged     was set aside by a restore that fell back to an earlier step
    .replaced    is the first version of a step that is written again, valid until the new version has the final name
"""

import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, cast

from gen.errors import UserError
from gen.io import checksums, json_reading
from gen.training.checkpointing.checkpoint_records import CheckpointRecord, LeafRecord, Tree

STATE, META = "state", "meta.json"
PARTIAL, OLD, DAMAGED, REPLACED = ".partial", ".old", ".damaged", ".replaced"
MAX_LINES = 10  # of each kind of difference that an error lists; chosen: a screen, for four kinds
_NAME = re.compile(
  r"[0-9]{9,}"
)  # of a step: nine digits or more, so that names sort as numbers up to 10^9 - 1


def path_of(folder: Path, step: int) -> Path:
  """Returns the path of a complete checkpoint of `step`, whether or not it exists."""
  path = folder / f"{step:09d}"
  # Between the two renames of `commit_step` only the first version exists, under this name.
  replaced = path.with_suffix(REPLACED)
  return replaced if replaced.is_dir() and not path.is_dir() else path


def complete_steps(folder: Path) -> list[int]:
  """Returns the complete steps in rising order."""
  return sorted({int(path.stem) for path in _folders(folder, "", REPLACED)})


def find_leftovers(folder: Path) -> list[Path]:
  """Returns the half-written and half-deleted steps of killed processes."""
  # A first version is a leftover only once the second has the final name; before, it is the checkpoint.
  superseded = [path for path in _folders(folder, REPLACED) if path.with_suffix("").is_dir()]
  return sorted([*superseded, *_folders(folder, PARTIAL, OLD)])


def damaged_steps(folder: Path) -> list[Path]:
  """Returns the damaged steps that a restore set aside."""
  return sorted(_folders(folder, DAMAGED))


def _folders(folder: Path, *suffixes: str) -> list[Path]:
  """Returns the folders of steps with these suffixes; other files are never read or deleted."""
  if not folder.is_dir():
    return []
  return [
    path
    for path in folder.iterdir()
    if path.suffix in suffixes and _NAME.fullmatch(path.stem) and path.is_dir()
  ]


def read_record(folder: Path, step: int) -> CheckpointRecord:
  """Returns the content of `meta.json`, after comparing it with the manifest.

  Raises:
    UserError: if there is no such step, or its record is not as it was written.
  """
  path = _existing(folder, step)
  # The record alone: checksums of all arrays would read the whole checkpoint to learn its step.
  damages = checksums.damages_of(path, META)
  if damages:
    raise UserError(f"checkpoint {path} is damaged: {damages[0]}")
  return _record(path, step)


def find_damages(folder: Path, step: int) -> list[str]:
  """Returns one clause for each changed file of the step, or if there is none, for each array that cannot be opened.

  Raises:
    UserError: if there is no such step.
  """
  path = _existing(folder, step)
  # Checksums first: opening an array reads only its metadata, and would miss a flipped bit in the values.
  damages = checksums.find_damages(path)
  if damages:
    return damages
  try:
    tree = _record(path, step)["tree"]
  except UserError as error:
    return [str(error)]
  # Imported here and in `read_array`, because the other functions only need the standard library.
  from gen.training.checkpointing import stored_arrays

  return stored_arrays.array_faults(path / STATE, tree)


def find_strays(folder: Path, step: int) -> list[str]:
  """Returns the files in a step's folder that are not part of the checkpoint.

  Raises:
    UserError: if there is no such step.
  """
  return checksums.find_strays(_existing(folder, step))


def commit_step(partial: Path, folder: Path, step: int) -> None:
  """Renames a written and sealed step to its final name; a kill at any moment leaves the new or the old version."""
  # A rename over a folder that is not empty is not possible. `path_of` reads `.replaced` between the two renames.
  final = folder / f"{step:09d}"
  replaced = final.with_suffix(REPLACED)
  if final.is_dir():
    shutil.rmtree(replaced, ignore_errors=True)
    final.rename(replaced)
  partial.rename(final)
  # Without it a power failure could undo the rename, after the journal has counted on the checkpoint.
  checksums.sync_folder(folder)
  shutil.rmtree(replaced, ignore_errors=True)


def read_array(folder: Path, step: int, name: str) -> Any:
  """Returns one array of a step as a numpy array, without jax.

  Raises:
    UserError: if it cannot be read.
  """
  from gen.training.checkpointing import stored_arrays

  return stored_arrays.read_array(path_of(folder, step) / STATE, name)


def remove_step(path: Path) -> None:
  """Deletes a step; a kill during the deletion leaves nothing that looks like a step."""
  # Renamed first: half a deleted folder under the step's name would count as a damaged checkpoint.
  trash = path.with_suffix(OLD)
  shutil.rmtree(trash, ignore_errors=True)
  path.rename(trash)
  shutil.rmtree(trash, ignore_errors=True)


def set_aside(path: Path) -> Path:
  """Renames a damaged step so that it is neither restored nor counted, but can be inspected."""
  aside = path.with_suffix(DAMAGED)
  # A step may be damaged twice, if it was trained again after the first time.
  shutil.rmtree(aside, ignore_errors=True)
  path.rename(aside)
  return aside


def tree_differences(saved: Tree, expected: Tree) -> list[str]:
  """Returns one line for each leaf in which two trees differ: missing, extra, then different ones.

  Of each kind there are at most `MAX_LINES` lines and a count of the others, so that no kind hides another.
  """
  missing = [
    f"missing from the checkpoint: {name} {describe_leaf(expected[name])}"
    for name in expected
    if name not in saved
  ]
  extra = [
    f"extra in the checkpoint: {name} {describe_leaf(saved[name])}" for name in saved if name not in expected
  ]
  different = [
    f"different: {name} is {describe_leaf(saved[name])} in the checkpoint, {describe_leaf(expected[name])} here"
    for name in expected
    if name in saved and saved[name] != expected[name]
  ]
  return [*_first(missing, " missing"), *_first(extra, " extra"), *_first(different, " different")]


def shorten_lines(lines: Iterable[str]) -> str:
  """Returns the first lines and a count of the others."""
  return "\n  ".join(_first(list(lines)))


def _first(lines: list[str], kind: str = "") -> list[str]:
  """Returns the first lines and, if there are others, their number."""
  others = len(lines) - MAX_LINES
  return [*lines[:MAX_LINES], f"and {others} more{kind}"] if others > 0 else lines


def retained_steps(
  complete: list[int], keep: int, every: int, best: int | None, newest: int, named: Collection[int] = ()
) -> set[int]:
  """Returns the steps to retain.

  Args:
    complete: complete steps, in rising order.
    keep: number of last steps to retain.
    every: multiples of it are retained; 0 for none.
    best: the step with the best score, or None.
    newest: the step that was just saved.
    named: further steps to retain.

  >>> sorted(retained_steps([10, 20, 30, 40, 50], keep=2, every=20, best=10, newest=50))
  [10, 20, 40, 50]
  """
  # The newest stays even where an older run left steps with higher numbers.
  retained = set(complete[-keep:]) | {newest} | (set(named) & set(complete))
  if every:
    retained |= {step for step in complete if step % every == 0}
  return retained | ({best} if best is not None else set())


def _record(path: Path, step: int) -> CheckpointRecord:
  """Returns the content of a step's `meta.json`, after checking the type of each entry."""
  name = str(path / META)
  values = json_reading.read_json(path / META)
  kinds = {"step": int, "saved": float, "bytes": int, "meta": dict, "tree": dict}
  for key, kind in kinds.items():
    json_reading.require_field(values, key, kind, name)
  for leaf, entry in values["tree"].items():
    json_reading.require_kind(entry, dict, f"{name}: tree: {leaf}")
    json_reading.require_field(entry, "shape", list, f"{name}: tree: {leaf}")
    json_reading.require_field(entry, "dtype", str, f"{name}: tree: {leaf}")
  if values["step"] != step:
    raise UserError(f"{name} is of step {values['step']}, but it is in the folder of step {step}")
  return cast(CheckpointRecord, values)


def _existing(folder: Path, step: int) -> Path:
  path = path_of(folder, step)
  if not path.is_dir():
    complete = ", ".join(map(str, complete_steps(folder))) or "none"
    raise UserError(f"{folder} has no checkpoint of step {step}; complete steps: {complete}")
  return path


def describe_leaf(leaf: LeafRecord) -> str:
  """Returns type and shape of a leaf, such as float32[2,3]."""
  return f"{leaf['dtype']}[{','.join(map(str, leaf['shape']))}]"
