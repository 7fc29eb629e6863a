"""Compares the answers of checkpoints that scripts/make_parity_fixtures.py recorded with those that gen gives.

    uv run scripts/compare_parity.py tests/interop/fixtures
    uv run scripts/compare_parity.py runs/parity

It prints the largest absolute difference for each architecture, over positions that see anything, says which
checkpoints were refused and why, and checks that each checkpoint is saved again with equal bytes.
"""

import argparse
import collections
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gen.cli import terminal
from gen.errors import UserError

ANSWERS = "answers.safetensors"


def main(arguments: list[str] | None = None) -> int:
  """Compares every checkpoint under a folder; the exit code is 1 if one differs by more than the tolerance."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("folder", type=Path)
  parser.add_argument("--tolerance", type=float, default=1e-4)
  flags = parser.parse_args(arguments)
  folders = sorted(path.parent for path in flags.folder.glob(f"*/{ANSWERS}"))
  if not folders:
    print(f"{flags.folder} holds no */{ANSWERS}; scripts/make_parity_fixtures.py makes them", file=sys.stderr)
    return 2
  worst: dict[str, list[float]] = collections.defaultdict(list)
  failed = False
  for folder in folders:
    try:
      architecture, difference_seen, same = compare(folder)
    except UserError as error:
      print(f"{folder.name}: refused: {error}")
      continue
    worst[architecture].append(difference_seen)
    if difference_seen > flags.tolerance or not same:
      failed = True
      print(
        f"{folder.name}: differs by {difference_seen:.3g}{'' if same else ', and is not saved as it was'}"
      )
  for architecture, each in worst.items():
    print(f"{architecture:12} {len(each):4} checkpoints  largest difference {max(each):.2e}")
  return int(failed)


def compare(folder: Path) -> tuple[str, float, bool]:
  """Returns the architecture, the largest difference, and whether saving gives the same bytes.

  Raises:
    UserError: if the checkpoint is refused.
  """
  from safetensors import numpy as safetensors

  from gen.interop import huggingface

  with tempfile.TemporaryDirectory() as work:
    names = [path.name for path in folder.iterdir() if path.name != ANSWERS]
    for name in names:
      (Path(work) / name).write_bytes((folder / name).read_bytes())
    model, params = huggingface.load_checkpoint(work)
    again = Path(work) / "again"
    huggingface.save_checkpoint(again, model, params)
    same = all(contents(again / n) == contents(folder / n) for n in names if n.endswith(".safetensors"))
  calls: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
  for name, array in safetensors.load_file(folder / ANSWERS).items():
    calls[name.split(".")[0]][name.split(".")[1]] = array
  return model.architecture, max(difference(model, params, call) for call in calls.values()), same


def contents(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
  """Returns names, types, shapes and bytes of the tensors in a file."""
  import safetensors

  return {
    name: (each["dtype"], each["shape"], bytes(each["data"]))
    for name, each in safetensors.deserialize(path.read_bytes())
  }


def difference(model: Any, params: Any, call: dict[str, np.ndarray]) -> float:
  """Returns the largest difference of one call, over positions that count."""
  from gen.interop import huggingface

  arguments = {name: array for name, array in call.items() if name not in ("answer", "counts")}
  apart_bt = np.abs(huggingface.forward_pass(model, params, **arguments) - call["answer"]).max(-1)
  return float(apart_bt[call["counts"] != 0].max())


if __name__ == "__main__":
  sys.exit(terminal.run_at_terminal(main))
