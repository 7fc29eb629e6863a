"""What a run starts from: a checkpoint of a run, or a folder of the Hugging Face format; its model, arrays, tokenizer.

A checksum of the checkpoint is part of what the run is (`Run.sources`). A run that has a checkpoint of its own no
longer needs the source.
"""

import dataclasses
import functools
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model, Run, from_dict, user_sources
from gen.data.tokenizers import tokenizer as tokenizers
from gen.data.tokenizers.tokenizer import ByteTokenizer, Tokenizer
from gen.errors import UserError
from gen.io import checksums, json_reading, user_code
from gen.models import language_model
from gen.optimizers import select_paths, tree_paths
from gen.training.checkpointing import checkpoint_folder, quantized_checkpoints
from gen.training.checkpointing.checkpoints import OPTIMIZER, Checkpoints
from gen.training.run_folders import run_folder

HUGGING_FACE = "huggingface"  # of an imported run: the subfolder of its original files
_CONFIG = "config.json"
# gen.interop builds on this package, so what reads its checkpoints and tokenizers is imported by name.
_READ_CHECKPOINT = "gen.interop.huggingface:load_checkpoint"
_READ_TOKENIZER = "gen.interop.tokenizers:load_tokenizer"
_HAS_TOKENIZER = "gen.interop.tokenizers:is_in"


class StartSource(NamedTuple):
  """A checkpoint that a run can start from.

  Attributes:
    folder: of the run, or of the Hugging Face format.
    step: of the run's checkpoint; -1 for the Hugging Face format, which has no steps.
    checksum: of the checkpoint's content.
    run: the run that saved it; None for the Hugging Face format.
  """

  folder: Path
  step: int
  checksum: str
  run: Run | None

  @property
  def entry(self) -> str:
    """Its entry in `Run.sources`."""
    return f"{user_sources.START}{self.step}:{self.checksum}"

  @property
  def where(self) -> str:
    """The place in words."""
    return str(self.folder) if self.run is None else f"{self.folder}, step {self.step:,}"


def with_start(run: Run, workdir: Path) -> Run:
  """Returns the run with the checksum of what it starts from.

  Where the source is gone, or has moved on, it is the one that the run's own checkpoint was saved with.

  Raises:
    UserError: for a source that cannot be read, if the run has no checkpoint yet.
  """
  if not run.start_from:
    return user_sources.with_sources(run)
  folder, _ = split_step(run.start_from)
  # A run would otherwise begin with its own latest checkpoint, and change its identity with each save.
  if os.path.isdir(folder) and folder.resolve() == workdir.resolve():  # noqa: PTH112
    raise UserError(f"start_from is the run's own folder {workdir}; choose another --workdir for the new run")
  stored = _stored_entry(workdir, run.start_from)
  entry = _entry_now(run.start_from, stored)
  others = tuple(entry for entry in run.sources if not entry.startswith(user_sources.START))
  return dataclasses.replace(run, sources=(*others, entry))


def _entry_now(text: str, stored: str | None) -> str:
  """Returns the entry of a source, or the stored one if its checkpoint is unchanged or no longer there."""
  if stored is None:
    return find_source(text).entry
  folder, named = split_step(text)
  step = int(stored.removeprefix(user_sources.START).partition(":")[0])
  try:
    return find_source(str(folder) if step < 0 else f"{folder}:{step if named is None else named}").entry
  # The source was deleted or is damaged; the run's own checkpoint no longer needs it.
  except UserError:
    return stored


def _stored_entry(workdir: Path, text: str) -> str | None:
  """Returns the entry that the latest checkpoint of a run was saved with, if the run started from that place."""
  folder = workdir / run_folder.CHECKPOINTS
  for step in reversed(checkpoint_folder.complete_steps(folder)):
    try:
      saved: Run = from_dict(Run, checkpoint_folder.read_record(folder, step)["meta"]["config"])
    except (UserError, KeyError):
      continue
    if saved.start_from == text:
      return next((entry for entry in saved.sources if entry.startswith(user_sources.START)), None)
  return None


def split_step(text: str) -> tuple[Path, int | None]:
  """Returns the folder and the step of FOLDER[:step].

  >>> split_step("runs/a:37")
  (PosixPath('runs/a'), 37)
  """
  folder, colon, step = text.rpartition(":")
  # A folder whose own name ends in ":37" is taken as that folder.
  if colon and folder and step.isascii() and step.isdigit() and not os.path.exists(text):  # noqa: PTH110
    return Path(folder), int(step)
  return Path(text), None


def find_source(text: str) -> StartSource:
  """Returns the checkpoint that FOLDER[:step] names; without a step, the latest.

  Raises:
    UserError: if there is none.
  """
  folder, step = split_step(text)
  # os.path.isfile is false for names that no file can have, where Path.is_file raises.
  if not os.path.isfile(folder / _CONFIG):  # noqa: PTH113
    what = f"has no {_CONFIG}" if os.path.isdir(folder) else "is no folder"  # noqa: PTH112
    raise UserError(
      f"start_from is {text!r}, but {folder} {what}; give the --workdir of a run, or a Hugging Face folder"
    )
  if "model_type" in json_reading.read_json(folder / _CONFIG):
    if step is not None:
      raise UserError(
        f"start_from is {text!r}, but {folder} holds one checkpoint and no steps; leave out :{step}"
      )
    try:
      return StartSource(folder, -1, _folder_checksum(folder), None)
    except OSError as error:
      raise UserError(
        f"start_from is {text!r}, but {error.filename} cannot be read: {error.strerror}"
      ) from error
  steps = checkpoint_folder.complete_steps(folder / run_folder.CHECKPOINTS)
  if not steps:
    raise UserError(f"start_from is {text!r}, but {folder} has no checkpoint yet; train it further")
  if step is not None and step not in steps:
    raise UserError(f"start_from is {text!r}, but {folder} has no checkpoint of step {step}; it has {steps}")
  chosen = steps[-1] if step is None else step
  run = run_folder.saved_run(folder, chosen)
  manifest = checkpoint_folder.path_of(folder / run_folder.CHECKPOINTS, chosen) / checksums.NAME
  # The manifest holds the checksums of all files, so its own checksum stands for the whole checkpoint.
  return StartSource(folder, chosen, hashlib.sha256(manifest.read_bytes()).hexdigest()[:16], run)


def _folder_checksum(folder: Path) -> str:
  # Sorted, since a folder lists its files in no order that two machines share.
  paths = [folder / _CONFIG, *sorted(folder.glob("*.safetensors"))]
  stats = [(path, path.stat()) for path in paths]
  return _content_checksum(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))


# Hashing gigabytes takes seconds. Size and time of modification are in the key, so a changed file is hashed again.
@functools.lru_cache(maxsize=8)
def _content_checksum(files: tuple[tuple[Path, int, int], ...]) -> str:
  digest = hashlib.sha256()
  for path, size, _ in files:
    digest.update(f"{path.name} {size}\n".encode())
    with path.open("rb") as stream:
      # 4 MiB at a time, so that a file larger than memory can be hashed.
      while block := stream.read(1 << 22):
        digest.update(block)
  return digest.hexdigest()[:16]


def read_parameters(source: StartSource) -> tuple[Model, Any]:
  """Returns the model of a source and its parameters, float32 numpy arrays.

  Raises:
    UserError: if they are damaged.
  """
  if source.run is not None:
    template = jax.tree.map(
      lambda leaf: np.empty(leaf.shape, leaf.dtype), language_model.parameter_shapes(source.run.model)
    )
    with Checkpoints(source.folder / run_folder.CHECKPOINTS) as checkpoints:
      quantized_checkpoints.refuse_quantized(
        checkpoints.meta(source.step), "trained further", str(source.where)
      )
      params = checkpoints.restore_parameters(template, source.step)
      # A fine-tuned model's language-model head is that of before, and does not fit its body any more.
      head = checkpoints.meta(source.step).get("head", True)
    return source.run.model, params if head else _without_head(params)
  described, params = user_code.load_object(_READ_CHECKPOINT, "start_from")(source.folder)
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
  return described.config, params if described.head else _without_head(params)


def _without_head(params: Any) -> Any:
  return select_paths(params, [path for path in tree_paths(params) if not path.startswith("head/")])


def read_opt_state(source: StartSource, template: Any) -> Any:
  """Returns the optimizer's state of a source in the template's layout.

  Raises:
    UserError: if it has none, or one of another optimizer or other parameters.
  """
  if source.run is None:
    raise UserError(
      f"start_opt_state: {source.where} holds no state of an optimizer; leave start_opt_state out"
    )
  with Checkpoints(source.folder / run_folder.CHECKPOINTS) as checkpoints:
    try:
      return checkpoints.restore_part(OPTIMIZER, template, source.step)
    except UserError as error:
      first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
      raise UserError(
        f"start_opt_state: the optimizer's state of {source.where} is of another optimizer, other groups or other "
        f"parameters ({first}); set them alike, or leave start_opt_state out"
      ) from error


def read_tokenizer(source: StartSource) -> Tokenizer | None:
  """Returns the tokenizer of a source; None if it has none.

  Raises:
    UserError: if it cannot be read.
  """
  own = source.folder / "tokenizer"
  if source.run is not None and own.is_dir():
    return tokenizers.load_tokenizer(own)
  if source.run is not None and _trained_tokenizer(source) == ByteTokenizer().hash:
    return ByteTokenizer()
  folder = source.folder if source.run is None else source.folder / HUGGING_FACE
  if not user_code.load_object(_HAS_TOKENIZER, "start_from")(folder):
    return None
  read: Tokenizer = user_code.load_object(_READ_TOKENIZER, "start_from")(folder)
  return read


def _trained_tokenizer(source: StartSource) -> str | None:
  record = checkpoint_folder.read_record(source.folder / run_folder.CHECKPOINTS, source.step)
  named: str | None = record["meta"].get("tokenizer")
  return named
