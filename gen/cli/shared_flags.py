"""Flags that several experiments share, with one name, one meaning and one check each.

Each function defines a flag of the experiment that calls it and returns its holder.
"""

from pathlib import Path

from absl import flags

from gen.errors import UserError
from gen.io import outputs, quantities

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

MAX_SEED = 2**32 - 1  # seeds are uint32 in the compiled step
CHECKPOINT_HELP = (
  "Folder of a run (the --workdir of experiments/pretrain.py) or of a Hugging Face checkpoint."
)


def define_workdir(help: str = "Folder of the run; empty: runs/NAME.") -> flags.FlagHolder[str]:
  """Defines `--workdir`, the folder that an experiment writes to."""
  return outputs.DEFINE_folder("workdir", "", help)


def define_checkpoint(help: str = CHECKPOINT_HELP) -> flags.FlagHolder[str]:
  """Defines `--checkpoint`, the folder of a trained model."""
  return flags.DEFINE_string("checkpoint", "", help)


def define_step() -> flags.FlagHolder[int]:
  """Defines `--step`, the training step of the checkpoint to load."""
  return quantities.DEFINE_integer(
    "step", None, "Training step of the checkpoint; the latest by default.", lower_bound=0
  )


def define_tokenizer() -> flags.FlagHolder[str]:
  """Defines `--tokenizer`, for checkpoints whose tokenizer is in another folder."""
  return flags.DEFINE_string(
    "tokenizer", "", "Folder of the tokenizer that the model was trained with; empty: the checkpoint's."
  )


def define_seed(what: str) -> flags.FlagHolder[int]:
  """Defines `--seed`.

  Args:
    what: what the seed draws, as in "resampling".
  """
  return quantities.DEFINE_integer("seed", 0, f"Seed of the {what}.", lower_bound=0, upper_bound=MAX_SEED)


def define_delta(scope: str = "") -> flags.FlagHolder[float]:
  """Defines `--delta`, the threshold of the Huber loss.

  Args:
    scope: put before the help, as in "Parametric: ".
  """
  return quantities.DEFINE_float(
    "delta",
    1e-3,  # arXiv:2203.15556, section D.2
    f"{scope}Threshold of the Huber loss, in log loss; inf: least squares.",
    infinite=True,
    lower_bound=0,
  )


def require_checkpoint(folder: str) -> str:
  """Returns the value of `--checkpoint`.

  Raises:
    UserError: if the flag is missing.
  """
  if not folder:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  return folder


def result_folder(workdir: str, default: str) -> Path:
  """Makes and returns the folder of an experiment's results.

  Args:
    workdir: the value of `--workdir`.
    default: the folder where `--workdir` is empty.

  Raises:
    UserError: if the folder cannot be made.
  """
  folder = Path(workdir or default)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"cannot make the folder {folder}: {error.strerror}; choose another --workdir") from error
  return folder
