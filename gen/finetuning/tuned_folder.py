"""A fine-tuned model as the folder of a run, with the tokenizer and the files of the model that it started from."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen.config import Data, Run, user_sources
from gen.errors import UserError
from gen.finetuning import trained_part
from gen.finetuning.adapters import lora_files
from gen.finetuning.dialogues import chat
from gen.finetuning.dialogues.chat_form import ChatForm
from gen.finetuning.task_model import TaskModel
from gen.interop import description, generation_config, pretrained
from gen.interop.runs import KEPT, TOKENIZER_FILES
from gen.io import checksums, json_reading
from gen.precision import quantized_array
from gen.training import start_source
from gen.training.run_folders import headed_checkpoint, run_folder
from gen.training.run_folders.headed_checkpoint import HeadedParameters
from gen.training.run_folders.run_folder import TOKENIZER

ADAPTERS = "adapters"  # folder of low-rank adapters alone


def write_model(workdir: Path, model: TaskModel, params: Any, step: int) -> None:
  """Writes a fine-tuned model into its folder.

  Args:
    workdir: the folder.
    model: the model that was fine-tuned.
    params: its parameters after that, adapters merged.
    step: of the checkpoint.

  Raises:
    UserError: if the folder cannot be written.
  """
  settings = model.settings
  source, _ = start_source.split_step(settings.start_from)
  foreign = "model_type" in json_reading.read_json(source / run_folder.CONFIG)
  data = Data() if foreign else run_folder.saved_run(source).data
  run = user_sources.with_sources(
    Run(
      name=workdir.name,
      seed=settings.seed,
      model=model.loaded.model,
      data=data,
      optimizer=settings.optimizer_config,
      steps=step,
    )
  )
  try:
    _copy_files(source, workdir, foreign)
    if isinstance(model.form, ChatForm):
      chat.save_template(workdir, model.form.template)
  except OSError as error:
    raise UserError(f"{workdir} cannot be written: {error.strerror}") from error
  headed = HeadedParameters(model.loaded.model, model.head, params)
  meta = {
    "tokenizer": model.loaded.tokenizer.hash,
    "head": model.loaded.reading.head,
    "fine_tuned_from": settings.start_from,
  }
  before = quantized_array.dequantize_tree(model.loaded.params)
  headed_checkpoint.save_headed(workdir, run, step, headed, before, meta)


def write_adapters(workdir: Path, model: TaskModel, trained: Any, report: Callable[[str], None]) -> None:
  """Writes adapters alone in the layout of `peft`, or says why the layout cannot hold them."""
  if model.adapters is None:
    return
  source, _ = start_source.split_step(model.settings.start_from)
  values = json_reading.read_json(source / run_folder.CONFIG)
  like = values if "model_type" in values else None
  try:
    described = description.describe_model(model.loaded.model, like=like, head=model.head)
    lora_files.save_adapters(
      workdir / ADAPTERS, described, model.adapters, trained[trained_part.ADAPTERS], trained[trained_part.PARAMETERS],
      str(source),
    )  # fmt: skip
  except UserError as error:
    report(f"the adapters are merged into the model, and not written alone: {error}")


def _copy_files(source: Path, workdir: Path, foreign: bool) -> None:
  """Copies what gives the ids their meaning: of a Hugging Face folder, its config and the files of its tokenizer."""
  if not foreign:
    for name in (TOKENIZER, KEPT):
      if (source / name).is_dir():
        shutil.copytree(source / name, workdir / name, dirs_exist_ok=True)
    return
  (workdir / KEPT).mkdir(parents=True, exist_ok=True)
  for name in (pretrained.CONFIG, generation_config.NAME, *TOKENIZER_FILES):
    if (source / name).is_file():
      shutil.copyfile(source / name, workdir / KEPT / name)
  checksums.seal_folder(workdir / KEPT)
