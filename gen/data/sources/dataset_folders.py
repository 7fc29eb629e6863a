"""Folders in which the package `datasets` of Hugging Face keeps a set of texts: Arrow files, and JSON beside them.

| folder | holds |
|---|---|
| of `Dataset.save_to_disk` | state.json, which lists the files of its rows in order |
| of `DatasetDict.save_to_disk` | dataset_dict.json, which lists the splits, each such a folder |
| of the cache of `load_dataset` | dataset_info.json, which lists the splits, and NAME-SPLIT[-00000-of-00002].arrow |

Documents are named by split and row. A set therefore has the same text and the same split into training and validation,
however many files and batches hold its rows.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gen.data.document import Document
from gen.data.sources.file_formats import column_files, compressed
from gen.data.sources.file_formats.notes import Notes
from gen.data.sources.file_formats.records import TextField
from gen.errors import UserError
from gen.io import json_reading

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
DEFAULT_SPLIT = "train"


class DatasetFolder(NamedTuple):
  """The rows of one split.

  Attributes:
    split: its name.
    paths: of its Arrow files, in the order of rows.
  """

  split: str
  paths: list[Path]

  def read_documents(self, field: str, notes: Notes, max_bytes: int) -> Iterator[Document]:
    """Yields one document per row that is not null.

    Args:
      field: the column with the text, as the user requested it.
      notes: collects how the rows were read.
      max_bytes: that a compressed file may expand to; 0 for no limit.

    Raises:
      UserError: if a file is damaged or has no such column, or pyarrow is not installed.
    """
    rows = itertools.count(1)
    chosen = TextField(field, lambda what: notes.add(self.split, f"a datasets folder, {what}"))
    for path in self.paths:
      expansion = compressed.Expansion(str(path), max_bytes)
      yield from column_files.arrow_documents(path, self.split, chosen, expansion, rows)


def open_folder(name: str, split: str) -> DatasetFolder | None:
  """Returns the rows of one split of a folder of `datasets`; None for any other path.

  Args:
    name: path of the folder.
    split: that the user requested. The default also stands for the only split of a folder.

  Raises:
    UserError: if the folder has no such split, or lacks a file that it lists.
  """
  folder = Path(name).expanduser()
  try:
    held = [folder.is_dir() and (folder / file).is_file() for file in (DICT, STATE, INFO)]
  except (ValueError, OSError):  # a zero byte, a name too long
    return None
  if held[0]:
    return _of_dict(folder, split)
  if held[1]:
    saved = _of_state(folder)
    if saved is not None and split not in (DEFAULT_SPLIT, saved.split):
      raise _no_split(folder, split, [saved.split])
    return saved
  return _of_cache(folder, split) if held[2] else None


def _of_dict(folder: Path, split: str) -> DatasetFolder | None:
  listed = _read(folder / DICT)
  if not isinstance(splits := listed.get("splits"), list):
    return None
  chosen = _choose(folder, split, [str(name) for name in splits])
  if not (folder / chosen / STATE).is_file():
    raise UserError(
      f"{folder / chosen / STATE} is missing, and {DICT} lists this split; copy the folder again"
    )
  saved = _of_state(folder / chosen)
  return saved and saved._replace(split=chosen)


def _of_state(folder: Path) -> DatasetFolder | None:
  state = _read(folder / STATE)
  if "_data_files" not in state:
    return None
  where = str(folder / STATE)
  # `datasets` keeps a selection or a shuffle as indices over unchanged rows; reading the rows alone would ignore it.
  if state.get("_indices_data_files") or state.get("_indices_files"):
    raise UserError(f"{where}: an index selects the rows; call flatten_indices() and save the set again")
  entries = json_reading.require_field(state, "_data_files", list, where)
  names = [
    json_reading.require_field(json_reading.require_kind(entry, dict, where), "filename", str, where)
    for entry in entries
  ]
  # A stranger's state.json must not name files elsewhere on the machine.
  outside = [name for name in names if Path(name).name != name]
  if outside:
    raise UserError(f"{where} names a file outside of its folder, {outside[0][:80]!r}; do not trust it")
  return DatasetFolder(str(state.get("_split") or DEFAULT_SPLIT), _present(folder, names, STATE))


def _of_cache(folder: Path, split: str) -> DatasetFolder | None:
  """Returns a split of the cache; its files cache-*.arrow hold results of map and filter."""
  info = _read(folder / INFO)
  files = sorted(path.name for path in folder.glob("*.arrow") if not path.name.startswith("cache-"))
  if not files or not isinstance(splits := info.get("splits"), dict):
    return None
  chosen = _choose(folder, split, list(splits))
  ending = re.compile(rf"(.+)-{re.escape(chosen)}(?:-(\d{{5}})-of-(\d{{5}}))?\.arrow")
  matched = [match for match in map(ending.fullmatch, files) if match]
  if not matched:
    raise UserError(f"{folder} has no Arrow file of split {chosen!r}; download the set again")
  prefix, _, count = matched[0].groups()
  names = [match.string for match in matched]
  if count is not None:
    # By their numbers and not by the glob: a missing shard must be named.
    names = [f"{prefix}-{chosen}-{shard:05}-of-{count}.arrow" for shard in range(int(count))]
  elif len(names) > 1:
    raise UserError(
      f"{folder} has two files of split {chosen!r}: {names[0]} and {names[1]}; name one of them"
    )
  return DatasetFolder(chosen, _present(folder, names, INFO))


def _read(path: Path) -> dict[str, Any]:
  content: dict[str, Any] = json_reading.read_json(path)
  return content


def _present(folder: Path, names: list[str], lister: str) -> list[Path]:
  missing = [name for name in names if not (folder / name).is_file()]
  if missing:
    more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    raise UserError(f"{folder / missing[0]}{more} is missing beside {lister}; copy the folder again")
  return [folder / name for name in names]


def _choose(folder: Path, split: str, splits: list[str]) -> str:
  if split in splits:
    return split
  if split == DEFAULT_SPLIT and len(splits) == 1:
    return splits[0]
  raise _no_split(folder, split, splits)


def _no_split(folder: Path, split: str, splits: list[str]) -> UserError:
  listed = ", ".join(splits[:12]) or "none"
  return UserError(
    f"data.corpus {folder}: there is no split {split!r}, and the folder has {listed}; set --config.data.split"
  )
