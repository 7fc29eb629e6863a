"""Optional copies of a run's rows beside its journal: TensorBoard events, and a run of Weights & Biases (W&B).

A mirror that fails does not end the run: the journal has every row. W&B's own variables hold, such as
WANDB_MODE=offline, which writes WORKDIR/wandb without a network; `wandb sync` uploads that later.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from absl import logging

from gen.config import Run, config_hash, to_dict
from gen.errors import UserError
from gen.training.run_log.journal import MEASURED, TensorBoard, row_numbers
from gen.training.run_log.rows import RowValues

PROJECT = "gen"  # of W&B, unless WANDB_PROJECT names another


def require_wandb() -> None:
  """Checks that the package wandb can be imported, before anything is built.

  Raises:
    UserError: if it is not installed.
  """
  spec = importlib.util.find_spec("wandb")
  # A folder named wandb, which W&B itself writes, passes for a package without code.
  if spec is None or spec.origin is None:
    raise UserError(
      "wandb is true, but the package wandb is not installed; start with `uv run --extra wandb ...`, or "
      "leave wandb false"
    )


class WeightsAndBiases:
  """Writes the measured rows and the result of a journal to a run of W&B."""

  def __init__(self, run: Run, workdir: Path) -> None:
    """Starts a run of W&B, or continues that of the same folder and config.

    Raises:
      UserError: if the package is missing, or W&B refuses.
    """
    require_wandb()
    import wandb  # slow to import, and only needed if `run.wandb`

    # The folder is part of W&B's id: the same config may be trained in two folders, as two runs.
    place = hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:8]
    try:
      self._run = wandb.init(
        project=None if os.environ.get("WANDB_PROJECT") else PROJECT,
        name=run.name or None,
        id=f"{config_hash(run)}-{place}",
        group=workdir.resolve().parent.name or None,
        dir=str(workdir),
        config=to_dict(run),
        resume="allow",
      )
    except Exception as error:  # W&B's own classes of errors have changed from release to release.
      reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
      raise UserError(
        f"W&B does not start: {reason}; log in with `wandb login`, or set WANDB_MODE=offline to write {workdir}/wandb"
      ) from error

  def append(self, row: RowValues) -> None:
    """Logs each number of a train or evaluation row at its step; the result becomes the summary."""
    numbers = row_numbers(row)
    if row.get("kind") == "result":
      self._run.summary.update({f"result/{name}": value for name, value in numbers.items()})
    elif row.get("kind") in MEASURED:
      # A resumed run repeats rows. W&B ignores steps before its last one, and their numbers are the same.
      self._run.log(
        {f"{row['kind']}/{name}": value for name, value in numbers.items()}, step=int(row["step"])
      )

  def close(self) -> None:
    """Writes or uploads what is pending and ends the run of W&B."""
    self._run.finish()


class RowMirrors:
  """The mirrors that a run asks for; a sink of its rows."""

  def __init__(self, run: Run, workdir: Path | None) -> None:
    """Opens them.

    Args:
      run: `tensorboard` and `wandb` say which.
      workdir: folder of the run; None in processes that do not write.

    Raises:
      UserError: if W&B cannot start.
    """
    self._mirrors: list[TensorBoard | WeightsAndBiases] = []
    if workdir is not None and run.tensorboard:
      self._mirrors.append(TensorBoard(workdir / "tensorboard"))
    if workdir is not None and run.wandb:
      self._mirrors.append(WeightsAndBiases(run, workdir))

  def append(self, row: RowValues) -> None:
    """Writes a row to each mirror; one that fails is dropped with a warning."""
    for mirror in list(self._mirrors):
      self._attempt(mirror, lambda mirror=mirror: mirror.append(row))

  def _attempt(self, mirror: TensorBoard | WeightsAndBiases, write: Any) -> None:
    try:
      write()
    except Exception as error:  # The run must not end for a copy of its rows, whatever the mirror raises.
      self._mirrors.remove(mirror)
      logging.warning("%s stops: %s; the journal has all rows", type(mirror).__name__, error)

  def __enter__(self) -> "RowMirrors":
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    for mirror in list(self._mirrors):
      self._attempt(mirror, mirror.close)
