"""The folder of checkpoints, read without jax: its steps, their metadata, tree and damage.

    FOLDER/000001000/state/...       arrays, in orbax's format
    FOLDER/000001000/meta.json       {"step", "saved" (unix seconds), "bytes", "meta": {...}, "tree": {path: leaf}}
    FOLDER/000001000/manifest.json   checksums of all of the above

Other files, such as a file manager's, are not part of the checkpoint and are ignored. A step gets its digits-only
name by one rename after all of it is on the disk. Other names are not checkpoints: `.partial` was being written, `.old`
was being deleted, `.damaged` was set aside by a restore that fell back. While a step is rewritten its first version is
`.replaced`, which is valid until the new version has the name.
"""

import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from gen.errors import UserError
from gen.io import checksums, json_reading

STATE, META = "state", "meta.json"
PARTIAL, OLD, DAMAGED, REPLACED = ".partial", ".old", ".damaged", ".replaced"
MAX_LINES = 10
_NAME = re.compile(r"[0-9]{9,}")  # of a step

Tree = dict[str, dict[str, Any]]  # path -> {"shape": [...], "dtype": "float32"}


def path_of(folder: Path, step: int) -> Path:
  """Returns the path of a complete checkpoint of `step`, whether or not it exists."""
  path = folder / f"{step:09d}"
  replaced = path.with_suffix(REPLACED)
  return replaced if replaced.is_dir() and not path.is_dir() else path


def complete_steps(folder: Path) -> list[int]:
  """Returns the complete steps in rising order."""
  return sorted({int(path.stem) for path in _folders(folder, "", REPLACED)})


def find_leftovers(folder: Path) -> list[Path]:
  """Returns the half-written and half-deleted steps of killed processes."""
  superseded = [path for path in _folders(folder, REPLACED) if path.with_suffix("").is_dir()]
  return sorted([*superseded, *_folders(folder, PARTIAL, OLD)])


def damaged_steps(folder: Path) -> list[Path]:
  """Returns the damaged steps that a restore set aside."""
  return sorted(_folders(folder, DAMAGED))


def _folders(folder: Path, *suffixes: str) -> list[Path]:
  """Returns the folders of steps with these suffixes; nothing else there is ours to read or delete."""
  if not folder.is_dir():
    return []
  return [
    path
    for path in folder.iterdir()
    if path.suffix in suffixes and _NAME.fullmatch(path.stem) and path.is_dir()
  ]


def read_record(folder: Path, step: int) -> dict[str, Any]:
  """Returns what `meta.json` holds, tree and all, after comparing it with the manifest.

  Raises:
    UserError: if there is no such step, or its record is not as it was written.
  """
  path = _existing(folder, step)
  found = checksums.damages_of(path, META)
  if found:
    raise UserError(f"checkpoint {path} is damaged: {found[0]}")
  return _record(path, step)


def find_damages(folder: Path, step: int) -> list[str]:
  """Returns one clause per file of the step that is not as it was written, or else per array that cannot be opened.

  Raises:
    UserError: if there is no such step.
  """
  path = _existing(folder, step)
  found = checksums.find_damages(path)
  if found:
    return found
  try:
    tree = _record(path, step)["tree"]
  except UserError as error:
    return [str(error)]
  # Imported here and in `read_array`: all else needs the standard library only.
  from gen.training import stored_arrays

  return stored_arrays.array_faults(path / STATE, tree)


def find_strays(folder: Path, step: int) -> list[str]:
  """Returns the files in a step's folder that are no part of it.

  Raises:
    UserError: if there is no such step.
  """
  return checksums.find_strays(_existing(folder, step))


def commit_step(partial: Path, folder: Path, step: int) -> None:
  """Renames a written and sealed step to its final name; a kill at any moment leaves the new or the old version."""
  final = folder / f"{step:09d}"
  replaced = final.with_suffix(REPLACED)
  if final.is_dir():
    shutil.rmtree(replaced, ignore_errors=True)
    final.rename(replaced)
  partial.rename(final)
  checksums.sync_folder(folder)
  shutil.rmtree(replaced, ignore_errors=True)


def read_array(folder: Path, step: int, name: str) -> Any:
  """Returns one array of a step as numpy's, without jax.

  Raises:
    UserError: if it cannot be read.
  """
  from gen.training import stored_arrays

  return stored_arrays.read_array(path_of(folder, step) / STATE, name)


def remove_step(path: Path) -> None:
  """Deletes a step; a kill in the middle leaves nothing that looks like a step."""
  grave = path.with_suffix(OLD)
  shutil.rmtree(grave, ignore_errors=True)
  path.rename(grave)
  shutil.rmtree(grave, ignore_errors=True)


def set_aside(path: Path) -> Path:
  """Renames a damaged step so that it is neither restored nor counted, but can be inspected."""
  aside = path.with_suffix(DAMAGED)
  shutil.rmtree(aside, ignore_errors=True)
  path.rename(aside)
  return aside


def tree_differences(saved: Tree, wanted: Tree) -> list[str]:
  """Returns one line per leaf in which two trees differ: missing, extra, then unlike.

  Of each kind there are the first lines and a count of its others, so that none hides another.
  """
  missing = [
    f"missing from the checkpoint: {name} {describe_leaf(wanted[name])}"
    for name in wanted
    if name not in saved
  ]
  extra = [
    f"extra in the checkpoint: {name} {describe_leaf(saved[name])}" for name in saved if name not in wanted
  ]
  unlike = [
    f"unlike: {name} is {describe_leaf(saved[name])} in the checkpoint, {describe_leaf(wanted[name])} here"
    for name in wanted
    if name in saved and saved[name] != wanted[name]
  ]
  return [*_first(missing, " missing"), *_first(extra, " extra"), *_first(unlike, " unlike")]


def shorten_lines(lines: Iterable[str]) -> str:
  """Returns the first lines and a count of the others."""
  return "\n  ".join(_first(list(lines)))


def _first(lines: list[str], kind: str = "") -> list[str]:
  """Returns the first lines and, if there are others, how many more of their kind."""
  more = len(lines) - MAX_LINES
  return [*lines[:MAX_LINES], f"and {more} more{kind}"] if more > 0 else lines


def retained_steps(
  complete: list[int], keep: int, every: int, best: int | None, newest: int, named: Collection[int] = ()
) -> set[int]:
  """Returns the steps to retain: the last `keep`, multiples of `every`, the best, the named ones and the newest.

  >>> sorted(retained_steps([10, 20, 30, 40, 50], keep=2, every=20, best=10, newest=50))
  [10, 20, 40, 50]
  """
  stay = set(complete[-keep:]) | {newest} | (set(named) & set(complete))
  if every:
    stay |= {step for step in complete if step % every == 0}
  return stay | ({best} if best is not None else set())


def _record(path: Path, step: int) -> dict[str, Any]:
  """Returns what the `meta.json` of a step holds, each entry of its type."""
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
    raise UserError(f"{name} is of step {values['step']}, but lies in the folder of step {step}")
  return values


def _existing(folder: Path, step: int) -> Path:
  path = path_of(folder, step)
  if not path.is_dir():
    known = ", ".join(map(str, complete_steps(folder))) or "none"
    raise UserError(f"{folder} has no checkpoint of step {step}; complete steps: {known}")
  return path


def describe_leaf(leaf: dict[str, Any]) -> str:
  """Returns type and shape of a leaf, such as float32[2,3]."""
  return f"{leaf['dtype']}[{','.join(map(str, leaf['shape']))}]"
