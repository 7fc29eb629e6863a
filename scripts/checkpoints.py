"""Inspects checkpoints without devices: lists, verifies, shows and compares them.

    scripts/checkpoints.py ls FOLDER
    scripts/checkpoints.py verify FOLDER [STEP ...]      exit code 1 and a name if anything changed or does not open
    scripts/checkpoints.py show FOLDER [STEP]            meta and arrays, of the latest step by default
    scripts/checkpoints.py diff FOLDER STEP STEP         also: diff FOLDER [STEP] FOLDER [STEP]
    scripts/checkpoints.py diff --values FOLDER 100 200  compares the numbers too

FOLDER holds the steps, or is a run's folder with `checkpoints` inside. `verify` also takes the folder of a sweep.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gen.cli import terminal
from gen.errors import UserError
from gen.training.checkpointing import checkpoint_folder
from gen.training.checkpointing.checkpoint_records import CheckpointRecord

Target = tuple[Path, int]


def main(arguments: list[str] | None = None) -> int:
  """Runs one command; returns the exit code: 0, 1 for damage or a difference, 2 for a mistake."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("command", choices=COMMANDS)
  parser.add_argument("targets", nargs="+", metavar="FOLDER|STEP")
  parser.add_argument("--values", action="store_true", help="diff: compare the numbers in the arrays")
  flags = parser.parse_args(arguments)
  try:
    return COMMANDS[flags.command](flags)
  except UserError as error:
    print(_shown(error), file=sys.stderr)
    return 2


def ls(flags: argparse.Namespace) -> int:
  """Lists the steps and what is left of others."""
  for word in flags.targets:
    folder = _folder(word)
    print(f"{_shown(folder)}\n{'step':>12}  {'saved':19}  {'MB':>9}  {'arrays':>6}")
    for step in checkpoint_folder.complete_steps(folder):
      try:
        print(_row(checkpoint_folder.read_record(folder, step)))
      except UserError as error:
        print(f"{step:>12}  {_shown(error)}")
    for path in [*checkpoint_folder.find_leftovers(folder), *checkpoint_folder.damaged_steps(folder)]:
      print(f"{path.stem:>12}  {path.suffix[1:]}, not counted")
  return 0


def verify(flags: argparse.Namespace) -> int:
  """Compares every byte with the manifests and opens every array; of every run, in the folder of a sweep."""
  worst, shown = 0, None
  words = [part for word in flags.targets for part in _runs_of(word)]
  for folder, step in _targets(words, all_steps=True):
    if words != flags.targets and folder != shown:
      shown = folder
      print(f"{_shown(folder)}:")
    damages, strays = (
      checkpoint_folder.find_damages(folder, step),
      checkpoint_folder.find_strays(folder, step),
    )
    worst = max(worst, int(bool(damages)))
    ignored = f"; not part of it, and ignored: {', '.join(strays)}" if strays else ""
    print(f"step {step}: {_shown('damaged: ' + '; '.join(damages) if damages else 'ok')}{_shown(ignored)}")
  return worst


def show(flags: argparse.Namespace) -> int:
  """Prints meta and arrays."""
  for folder, step in _targets(flags.targets):
    record = checkpoint_folder.read_record(folder, step)
    print(f"{_shown(checkpoint_folder.path_of(folder, step))}\n{json.dumps(record['meta'], indent=2)}")
    for name, leaf in record["tree"].items():
      print(f"  {_shown(name):60} {leaf['dtype']:9} {leaf['shape']}")
    numbers = sum(int(np.prod(leaf["shape"])) for leaf in record["tree"].values())
    print(f"{len(record['tree'])} arrays, {numbers} numbers, {record['bytes'] / 1e6:.3f} MB")
  return 0


def diff(flags: argparse.Namespace) -> int:
  """Prints what differs: meta, arrays, and with --values the numbers."""
  targets = _targets(flags.targets)
  if len(targets) != 2:
    raise UserError(
      f"diff compares two checkpoints, not {len(targets)}: give FOLDER STEP STEP or FOLDER FOLDER"
    )
  first, second = (checkpoint_folder.read_record(*target) for target in targets)
  lines = _meta_differences(first["meta"], second["meta"])
  lines += _tree_differences(first["tree"], second["tree"])
  if flags.values:
    same = [
      name
      for name, leaf in first["tree"].items()
      if leaf == second["tree"].get(name) and 0 not in leaf["shape"]
    ]
    lines += [line for name in same if (line := _value_difference(name, *targets))]
  print("\n".join(map(_shown, lines)) or "no difference")
  return int(bool(lines))


def _shown(text: object) -> str:
  """Returns a text as one line: a path or a name may hold line ends, and codes that steer a terminal."""
  return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


COMMANDS = {"ls": ls, "verify": verify, "show": show, "diff": diff}


def _folder(word: str) -> Path:
  folder = Path(word)
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder")
  inside = folder / "checkpoints"
  return inside if not checkpoint_folder.complete_steps(folder) and inside.is_dir() else folder


def _runs_of(word: str) -> list[str]:
  """Returns the folders of checkpoints below the folder of a sweep; any other word alone."""
  folder = Path(word)
  if not folder.is_dir() or checkpoint_folder.complete_steps(_folder(word)):
    return [word]
  found = [
    path for depth in ("*", "*/*") for path in sorted(folder.glob(f"{depth}/checkpoints")) if path.is_dir()
  ]
  return [str(path) for path in found if checkpoint_folder.complete_steps(path)] or [word]


def _targets(words: list[str], all_steps: bool = False) -> list[Target]:
  """Returns (folder, step) for each step named; a folder without one stands for its latest, or all."""
  targets: list[Target] = []
  folder, named = None, True
  for word in [*words, ""]:
    if word.isdecimal() and folder is not None and not Path(word).is_dir():
      targets.append((folder, int(word)))
      named = True
      continue
    if folder is not None and not named:
      steps = checkpoint_folder.complete_steps(folder)
      if not steps:
        raise UserError(f"{folder} has no complete checkpoint{_below(folder)}")
      targets += [(folder, step) for step in (steps if all_steps else steps[-1:])]
    if word:
      folder, named = _step_or_folder(word, targets)
  return targets


def _below(folder: Path) -> str:
  """Names the runs below a folder, which may be a sweep's."""
  names = [path.parent.name for path in sorted(folder.glob("*/checkpoints"))]
  more = f" and {len(names) - 3} more" if len(names) > 3 else ""
  return f"; it is the folder of several runs: {', '.join(names[:3])}{more}" if names else ""


def _step_or_folder(word: str, targets: list[Target]) -> tuple[Path, bool]:
  """Accepts the path of one step as well; adds it to the targets."""
  path = Path(word)
  if path.name.isdecimal() and (path / checkpoint_folder.META).is_file():
    targets.append((path.parent, int(path.name)))
    return path.parent, True
  return _folder(word), False


def _row(record: CheckpointRecord) -> str:
  saved = datetime.datetime.fromtimestamp(record["saved"]).isoformat(sep=" ", timespec="seconds")
  return f"{record['step']:>12}  {saved}  {record['bytes'] / 1e6:>9.3f}  {len(record['tree']):>6}"


def _meta_differences(first: Any, second: Any, path: str = "meta") -> list[str]:
  if isinstance(first, dict) and isinstance(second, dict):
    names = dict.fromkeys([*first, *second])
    missing = "(none)"
    pairs = ((name, first.get(name, missing), second.get(name, missing)) for name in names)
    return [
      line
      for name, value, other_value in pairs
      for line in _meta_differences(value, other_value, f"{path}.{name}")
    ]
  return [] if first == second else [f"{path}: {json.dumps(first)} | {json.dumps(second)}"]


def _tree_differences(first: checkpoint_folder.Tree, second: checkpoint_folder.Tree) -> list[str]:
  lines = [f"{name}: only in the first" for name in first if name not in second]
  lines += [f"{name}: only in the second" for name in second if name not in first]
  for name, leaf in first.items():
    if name in second and second[name] != leaf:
      lines.append(
        f"{name}: {checkpoint_folder.describe_leaf(leaf)} | {checkpoint_folder.describe_leaf(second[name])}"
      )
  return lines


def _value_difference(name: str, first: Target, second: Target) -> str:
  """Returns a line for an array whose bits differ, with the largest difference."""
  before, after = (checkpoint_folder.read_array(*target, name) for target in (first, second))
  if before.tobytes() == after.tobytes():
    return ""
  apart = np.abs(before.astype(np.float64) - after.astype(np.float64))
  scale = np.abs(before.astype(np.float64)).max()
  return f"{name}: {np.mean(apart > 0):.1%} of the numbers differ, by {apart.max():.3g} at most (largest {scale:.3g})"


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
