"""Checkpoints of the Hugging Face format as runs of `gen`, and back.

A run's folder is as after training: config.json, and a checkpoint of step 0 with the full state. So training,
generation and evaluation can use it. Its subfolder `huggingface` keeps the original config.json and the files of the
tokenizer.
"""

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen.config import Model, Run, config_hash, to_dict
from gen.config.heads import NO_HEAD, HeadConfig
from gen.data.tokenizers import tokenizer as own_tokenizers
from gen.errors import UserError
from gen.interop import (
  compressed_export,
  compressed_tensors,
  description,
  equivalents,
  generation_config,
  huggingface,
  parameters,
  pretrained,
  tensor_files,
  tokenizers,
)
from gen.interop.tokenizers import written
from gen.io import checksums
from gen.models import heads
from gen.precision import quantized_array
from gen.training.checkpointing import checkpoint_folder, quantized_checkpoints
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import headed_checkpoint, run_folder
from gen.training.step import saved_state

KEPT = "huggingface"
CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER_FILES = (*tokenizers.ALL_FILES, CHAT_TEMPLATE)


def import_checkpoint(source: str | Path, workdir: str | Path) -> Run:
  """Creates the folder of a run from a checkpoint of the format; parameters become float32.

  Raises:
    UserError: if the source cannot be read, or the folder already contains a run.
  """
  source, workdir = Path(source), Path(workdir)
  if (workdir / pretrained.CONFIG).exists():
    raise UserError(f"{workdir} already contains a run; choose another --workdir, or remove it")
  model, params = huggingface.load_checkpoint(source)
  if model.task is not None:
    kinds = model.hf["architectures"]
    kind = kinds[0] if isinstance(kinds, list) else kinds
    raise UserError(
      f"{source} holds a {kind}, whose head is for a task; a run of pre-training has a language-model head, so "
      "fine-tune the folder as it is (experiments/finetune.py --start_from)"
    )
  for note in model.notes:
    logging.getLogger(__name__).warning(note)
  run = Run(name=workdir.name, model=model.config, steps=1)
  # Zero moments: the files have none, and a run that goes on from here needs an optimizer's complete state.
  state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _template(run))
  params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
  key = jax.random.key_data(jax.random.key(run.seed))
  state = state._replace(params=params, key=np.asarray(key))
  meta: CheckpointMeta = {"config": to_dict(run), "run": config_hash(run), "tokenizer": _hash(source) or ""}
  meta["head"], meta["imported"] = model.head, str(source)
  try:
    (workdir / KEPT).mkdir(parents=True, exist_ok=True)
    for name in (pretrained.CONFIG, generation_config.NAME, *TOKENIZER_FILES):
      if (source / name).is_file():
        shutil.copyfile(source / name, workdir / KEPT / name)
    checksums.seal_folder(workdir / KEPT)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
      checkpoints.save(0, jax.tree.map(jnp.asarray, state), meta)
    # Last, because its presence says that the folder holds a run.
    checksums.write_atomically(workdir / run_folder.CONFIG, run_folder.config_text(run))
  except OSError as error:
    raise UserError(f"{workdir} cannot be written: {error.strerror}") from error
  return run


def export_checkpoint(
  workdir: str | Path, output: str | Path, step: int | None = None
) -> pretrained.Pretrained:
  """Writes a checkpoint of a run in the format, with the tokenizer of the run.

  Products of a quantized run are written as integers with scales (`gen.interop.compressed_tensors`).

  Args:
    workdir: the folder of the run.
    output: directory to write.
    step: of the checkpoint; None is the latest.

  Raises:
    UserError: if there is no such run or checkpoint, no architecture of the format is equivalent, or the checkpoint is
      quantized in a way that the format lacks.
  """
  workdir, output = Path(workdir), Path(output)
  run = run_folder.saved_run(workdir)
  original = workdir / KEPT
  like = kept_config(original) if (original / pretrained.CONFIG).is_file() else None
  head = _head_of(workdir, step)
  model = description.describe_model(run.model, like=like, head=head)
  tokenizer = _own_tokenizer(workdir, run) if like is None else None
  model = model if tokenizer is None else _with_special_ids(model, tokenizer)
  if model.task is not None and model.task.pooling == "last" and model.hf.get("pad_token_id") is None:
    note = "config.json has no pad_token_id, without which transformers classifies one text at a time"
    model = dataclasses.replace(model, notes=(*model.notes, note))
  params, body = _read_parameters(workdir, run, head, step)
  wide = quantized_array.dequantize_tree(params) if quantized_array.is_quantized(params) else params
  flat = {path: np.asarray(leaf) for path, leaf in parameters.flatten_tree(wide).items()}
  converted = equivalents.convert_parameters(flat, body, model.config)
  replaced = None
  if wide is not params:
    same = {path for path, array in flat.items() if converted[path] is array}
    integers = compressed_export.compress_products(model, params, same, str(workdir))
    model, replaced = integers.model, integers.tensors
  huggingface.save_checkpoint(output, model, parameters.unflatten_tree(converted), replaced=replaced)
  if tokenizer is not None:
    _write_own_tokenizer(workdir, output, run, tokenizer)
  for name in (generation_config.NAME, *TOKENIZER_FILES):
    if (original / name).is_file():
      shutil.copyfile(original / name, output / name)
  if (workdir / CHAT_TEMPLATE).is_file():  # of instruction tuning; it replaces that of the checkpoint
    shutil.copyfile(workdir / CHAT_TEMPLATE, output / CHAT_TEMPLATE)
  return model


def _head_of(workdir: Path, step: int | None) -> HeadConfig:
  """Returns the head of the checkpoint to export; of kind none where there is no such checkpoint."""
  steps = checkpoint_folder.complete_steps(workdir / run_folder.CHECKPOINTS)
  exists = bool(steps) if step is None else step in steps
  return headed_checkpoint.read_head(workdir, step) if exists else NO_HEAD


def _read_parameters(workdir: Path, run: Run, head: HeadConfig, step: int | None) -> tuple[Any, Model]:
  """Returns the parameters of a checkpoint, and the config of the model without a head for a task."""
  with Checkpoints(workdir / run_folder.CHECKPOINTS) as checkpoints:
    if step is not None and step not in checkpoints.steps():
      raise UserError(f"{workdir} has no checkpoint of step {step}; it has {checkpoints.steps() or 'none'}")
    chosen = checkpoints.steps()[-1] if step is None and checkpoints.steps() else step
    meta = checkpoints.meta(chosen) if chosen is not None else {}
    if head.kind == "none":
      # Quantized where the checkpoint's meta says so.
      template = quantized_checkpoints.parameter_template(run.model, meta, str(workdir))
      return checkpoints.restore_parameters(template, step), run.model
    quantized_checkpoints.refuse_quantized(
      meta, "written in the Hugging Face format with a head for a task", str(workdir)
    )
  return headed_checkpoint.read_headed(workdir, step).params, heads.body_config(run.model, head)


def _with_special_ids(
  model: pretrained.Pretrained, tokenizer: own_tokenizers.Tokenizer
) -> pretrained.Pretrained:
  """Returns the model with the ids of a tokenizer in config.json, whose defaults would be those of another."""
  ids = {f"{role}_token_id": getattr(tokenizer, role) for role in ("bos", "eos", "pad")}
  return dataclasses.replace(model, hf=model.hf | ids)


def _own_tokenizer(workdir: Path, run: Run) -> own_tokenizers.Tokenizer | None:
  """Returns the tokenizer that a run was trained with, or None where its folder has none."""
  folder = workdir / run_folder.TOKENIZER
  if folder.is_dir():
    return own_tokenizers.load_tokenizer(folder)
  return own_tokenizers.ByteTokenizer() if run.data.tokenizer == own_tokenizers.ByteTokenizer.kind else None


def _write_own_tokenizer(workdir: Path, output: Path, run: Run, tokenizer: own_tokenizers.Tokenizer) -> None:
  foreign = workdir / run_folder.TOKENIZER / own_tokenizers.PRETRAINED
  if foreign.is_dir():
    for name in TOKENIZER_FILES:
      if (foreign / name).is_file():
        shutil.copyfile(foreign / name, output / name)
    return
  written.write_tokenizer(output, tokenizer, run.model.vocab, ends=run.model.family != "decoder")


def kept_config(folder: Path) -> dict[str, object]:
  """Returns the original config.json of an imported run.

  Raises:
    UserError: if it cannot be read or was changed.
  """
  sealed = (folder / checksums.NAME).is_file()
  names = [
    name for name in (pretrained.CONFIG, generation_config.NAME) if sealed and (folder / name).is_file()
  ]
  damages = [clause for name in names for clause in checksums.damages_of(folder, name)]
  if damages:
    raise UserError(f"{folder}: {damages[0]}; restore the file, or import the checkpoint again")
  # Weights of integers were read as float32, so the original's description of them no longer holds.
  kept = tensor_files.read_json(folder / pretrained.CONFIG)
  return {name: value for name, value in kept.items() if name != compressed_tensors.FIELD}


def _template(run: Run) -> Any:
  return saved_state(run.model, run.optimizer, run.data.batch)


def _hash(source: Path) -> str | None:
  """Returns the hash of the tokenizer beside a checkpoint, or None."""
  if not tokenizers.is_in(source):
    return None
  return tokenizers.load_tokenizer(source).hash
