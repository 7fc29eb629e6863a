"""Writes a quantized model as the folder of a run, which generation and evaluation open like any other."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.config import Run, config_hash, to_dict
from gen.errors import UserError
from gen.interop.runs import KEPT
from gen.io import checksums
from gen.training.checkpointing import quantized_checkpoints
from gen.training.checkpointing.checkpoints import PARAMETERS, Checkpoints
from gen.training.run_folders import run_folder

# What generation and evaluation read of a checkpoint's metadata; the state of training does not apply any more.
COPIED_META = ("tokenizer", "head", "corpus_sha256")


def save_quantized(
  source: Path,
  output: Path,
  run: Run,
  step: int,
  params: Any,
  meta: Mapping[str, object],
  words: dict[str, Any],
) -> None:
  """Writes a folder with config, tokenizer and one checkpoint, sealed as all checkpoints.

  Args:
    source: folder of the run that was quantized.
    output: the new folder.
    run: its config, with the cache's format.
    step: of the checkpoint that was quantized.
    params: the quantized tree.
    meta: of that checkpoint.
    words: plain values that describe the scheme.

  Raises:
    UserError: if the output holds a run already, or cannot be written.
  """
  # Again just before writing: quantizing may have taken minutes since the first check.
  check_output(output)
  kept = {name: meta[name] for name in COPIED_META if name in meta}
  entry = quantized_checkpoints.quantization_meta(params, {**words, "checkpoint": str(source)})
  new_meta = {"config": to_dict(run), "run": config_hash(run), **kept, quantized_checkpoints.ENTRY: entry}
  try:
    output.mkdir(parents=True, exist_ok=True)
    for name in (run_folder.TOKENIZER, KEPT):
      if (source / name).is_dir():
        shutil.copytree(source / name, output / name, dirs_exist_ok=True)
    # Not asynchronous: the config below must not name a checkpoint that is not complete.
    with Checkpoints(output / run_folder.CHECKPOINTS, asynchronous=False) as checkpoints:
      checkpoints.save(step, {PARAMETERS: params}, new_meta)
    # Last, because a folder without a config is no run: an interrupted write leaves nothing that opens.
    checksums.write_atomically(output / run_folder.CONFIG, run_folder.config_text(run))
  except OSError as error:
    raise UserError(f"{output} cannot be written: {error.strerror}") from error


def check_output(output: Path) -> None:
  """Checks that a folder holds no run.

  Raises:
    UserError: if it does.
  """
  if (output / run_folder.CONFIG).exists() or (output / run_folder.CHECKPOINTS).exists():
    raise UserError(f"{output} already contains a run; choose another --output or remove it")


def with_cache(run: Run, cache: str) -> Run:
  """Returns the run's config with the format of its KV cache."""
  return dataclasses.replace(run, model=dataclasses.replace(run.model, cache_format=cache))
