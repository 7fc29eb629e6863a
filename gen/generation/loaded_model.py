"""A trained model with its tokenizer, from any of these places.

    a run           the --workdir of training
    an import       the folder of a run that scripts/import_checkpoint.py made
    a directory     of the Hugging Face format: config.json, *.safetensors, and the files of a tokenizer

All code that uses trained models gets a `LoadedModel` from `load_model`, so it works with models from all three.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model, Run, user_sources
from gen.data import batches, corpus
from gen.data.tokenizers.tokenizer import MODEL, ByteTokenizer, Tokenizer, load_tokenizer, tokenizer_for_data
from gen.errors import UserError
from gen.interop import generation_config, huggingface, text_frames, tokenizers
from gen.interop.architectures import registry
from gen.interop.runs import KEPT, kept_config
from gen.interop.text_frames import TextFrame
from gen.interop.tokenizers import model_vocab
from gen.io import json_reading
from gen.models import language_model
from gen.sharding.layouts import ShardingLayout
from gen.training.checkpointing import quantized_checkpoints
from gen.training.checkpointing.checkpoint_records import CheckpointMeta
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import run_folder
from gen.training.run_folders.run_folder import TOKENIZER

CONFIG = "config.json"
Report = Callable[[str], None]
Folder = str | Path


class LoadedModel(NamedTuple):
  """A trained model and everything needed to use it.

  Attributes:
    model: its config; `model.context` is the window, 0 for none.
    params: its parameters.
    tokenizer: of its training; ids of special tokens may be None if it is from a directory.
    reading: the special tokens around its texts.
    where: its origin, for messages and titles.
  """

  model: Model
  params: Any
  tokenizer: Tokenizer
  reading: TextFrame
  where: str

  @property
  def module(self) -> language_model.LanguageModel:
    """The flax module."""
    return language_model.build_model(self.model)


def load_model(
  folder: Folder,
  step: int | None = None,
  tokenizer: Folder | None = None,
  report: Report | None = None,
  layout: ShardingLayout | None = None,
) -> LoadedModel:
  """Reads a model from the folder of a run, or from a folder in the Hugging Face format.

  Args:
    folder: of the model.
    step: of a run's checkpoint; None is the latest.
    tokenizer: a folder with a saved tokenizer, which replaces the model's own.
    report: called with one line for each thing that is built, and for each note about the files; None logs notes as
      warnings.
    layout: mesh over which a run's parameters are split while they are read, also those of fewer bits; None is one
      device.

  Raises:
    UserError: if there is no such model or checkpoint, no tokenizer, not the tokenizer of its training, or a layout for
      a folder in the Hugging Face format.
  """
  loaded = _load(Path(folder), step, tokenizer, report, layout)
  for note in loaded.reading.notes:
    (report or logging.getLogger(__name__).warning)(note)
  return loaded


def _load(
  folder: Path,
  step: int | None,
  tokenizer: Folder | None,
  report: Report | None,
  layout: ShardingLayout | None,
) -> LoadedModel:
  config = _config(folder)
  if "model_type" in config:
    if step is not None:
      raise UserError(f"{folder} holds a single checkpoint without a step number; leave out step {step}")
    if layout is not None:
      raise UserError(
        f"{folder} is in the Hugging Face format, which is read onto one device; import it as a run"
      )
    return _directory(folder, tokenizer)
  with Checkpoints(folder / "checkpoints") as checkpoints:
    there = checkpoints.steps()
    if not there:
      raise UserError(f"{folder} has no checkpoint yet; train it further (experiments/pretrain.py)")
    if step is not None and step not in there:
      raise UserError(f"{folder} has no checkpoint of step {step}; it has {there}")
    chosen = there[-1] if step is None else step
    run = run_folder.saved_run(folder, chosen)
    # Before the arrays, which take longer to read: a wrong tokenizer is reported first.
    loaded, how = _of_run(folder, run, checkpoints.meta(chosen), tokenizer, report)
    # A note and no error: parameters can be read although the user's code has changed since.
    edited = user_sources.edited_model(run)
    notes = [f"the code of {path} was edited since {folder} was trained" for path in edited]
    how = how._replace(notes=(*how.notes, *notes))
    template = quantized_checkpoints.parameter_template(run.model, checkpoints.meta(chosen), str(folder))
    if layout is not None:
      template = quantized_checkpoints.split_template(template, run.model, layout)
    params = checkpoints.restore_parameters(template, chosen)
  return LoadedModel(run.model, params, loaded, how, f"{run.name or folder.name}, step {chosen:,}")


def read_run(folder: Folder) -> Run:
  """Returns the config of the run in a folder.

  Raises:
    UserError: if there is none, or it is not what its latest checkpoint was saved with.
  """
  config = _config(Path(folder))
  # `model_type` is in each config.json of the Hugging Face format, and in none of a run.
  if "model_type" in config:
    raise UserError(
      f"{folder} is not a run folder and does not record its training data; give a run's --workdir"
    )
  return run_folder.saved_run(Path(folder))


def load_run(run: Run, tokenizer: Tokenizer) -> TextFrame:
  """Returns the text format of a run's model, as in its objective."""
  objective = batches.make_objective(run.data, tokenizer, run.model.role)
  prefix = run.data.objective == "prefix"
  sees_ends = (
    run.model.family in ("encoder", "encoder_decoder") and not prefix
  )  # a prefix may end anywhere, so nothing follows it
  return TextFrame(
    run.data.objective,
    before=(tokenizer.bos,),
    after=(tokenizer.eos,) if sees_ends else (),
    start=(getattr(objective, "start", tokenizer.pad),),
    stop=(tokenizer.eos,),
    prefix=prefix and run.model.family == "decoder",
  )


def _config(folder: Path) -> dict[str, object]:
  path = folder / CONFIG
  if not folder.is_dir():
    raise UserError(
      f"{folder} is not a folder; give the --workdir of a run that experiments/pretrain.py trained, or a folder in"
      " the Hugging Face format"
    )
  try:
    path.stat()
  except FileNotFoundError:
    raise UserError(f"{folder} contains no model: {CONFIG} is missing; give the --workdir of a run") from None
  except OSError as error:
    raise UserError(f"{path} cannot be read: {error}") from error
  values = json_reading.read_json(path)
  # Only the config of a sweep has budgets.
  if "budgets" in values:
    runs = sorted(
      path.parent for path in folder.glob("*/config.json") if (path.parent / "checkpoints").is_dir()
    )
    example = f", such as {runs[0]}" if runs else ""
    raise UserError(f"{folder} is a sweep, which holds many runs; give the folder of one of them{example}")
  if not {"model", "model_type"} & set(values):
    raise UserError(
      f"{path} is not the config of a run; give the --workdir of a run of experiments/pretrain.py"
    )
  return values


def _directory(folder: Path, tokenizer_folder: Folder | None) -> LoadedModel:
  """Reads a directory of the format; parameters become float32."""
  tokenizer = _foreign(folder, tokenizer_folder)
  if tokenizer_folder and tokenizers.is_in(folder):
    # Ids of another tokenizer load and run, and give fluent nonsense: the hash is what tells.
    _require(tokenizers.load_tokenizer(folder).hash, tokenizer, folder, tokenizer_folder)
  described, params = huggingface.load_checkpoint(folder)
  if (
    described.task is not None
  ):  # a language model has no such head; `huggingface.load_checkpoint` returns it
    params = {name: value for name, value in params.items() if name != "head"}
  how = _reading(folder, described.values, described.config, tokenizer, described.head)
  how = how._replace(notes=described.notes + how.notes)
  # float32, because CPUs multiply bfloat16 and float16 by converting each operand first.
  wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
  model = dataclasses.replace(described.config, dtype="float32")
  return LoadedModel(model, wide, tokenizer, how, folder.resolve().name)


def _reading(
  folder: Path, hf: Mapping[str, object], model: Model, tokenizer: tokenizers.PretrainedTokenizer, head: bool
) -> TextFrame:
  """Returns the text format of a model, whose tokenizer now raises UserError for ids outside the model's vocabulary."""
  model_vocab.limit_to_model(tokenizer, model.vocab)
  return text_frames.frame_of_format(
    hf, generation_config.read_generation_config(folder, hf, model.vocab), model, tokenizer, head
  )


def _of_run(
  folder: Path, run: Run, meta: CheckpointMeta, tokenizer_folder: Folder | None, report: Report | None
) -> tuple[Tokenizer, TextFrame]:
  """Returns the tokenizer of a run and its text format; both are the original ones of an imported model."""
  # Files of the import are kept there, and are the source of its tokenizer and special tokens.
  original = folder / KEPT
  if original.is_dir() and not (folder / TOKENIZER).is_dir():
    pretrained = _foreign(original, tokenizer_folder)
    if meta.get("tokenizer"):
      _require(meta["tokenizer"], pretrained, folder, tokenizer_folder)
    hf = kept_config(original)
    values = registry.find_architecture(hf).complete(hf)
    return pretrained, _reading(original, values, run.model, pretrained, meta.get("head", True))
  tokenizer = _tokenizer(folder, run, tokenizer_folder, report)
  _require(meta.get("tokenizer"), tokenizer, folder, tokenizer_folder)
  return tokenizer, load_run(run, tokenizer)._replace(head=meta.get("head", True))


def _tokenizer(folder: Path, run: Run, tokenizer_folder: Folder | None, report: Report | None) -> Tokenizer:
  """Returns the tokenizer in the run's folder; if it is missing, it is rebuilt from the corpus."""
  if tokenizer_folder:
    return (
      load_tokenizer(tokenizer_folder)
      if (Path(tokenizer_folder) / MODEL).is_file()
      else tokenizers.load_tokenizer(tokenizer_folder)
    )
  if (folder / TOKENIZER).is_dir():
    return load_tokenizer(folder / TOKENIZER)
  # Bytes need no file.
  if run.data.tokenizer == ByteTokenizer.kind:
    return ByteTokenizer()
  # Training a tokenizer is deterministic in the corpus, and `_require` compares its hash afterwards.
  return tokenizer_for_data(run.data, corpus.build_corpus(run.data, report), report)


def _foreign(folder: Path, tokenizer_folder: Folder | None) -> tokenizers.PretrainedTokenizer:
  if not tokenizer_folder and not tokenizers.is_in(folder):
    raise UserError(
      f"{folder} has no tokenizer ({', '.join(tokenizers.FILES)}); copy the model's there, or give its folder by"
      " --tokenizer"
    )
  return tokenizers.load_tokenizer(tokenizer_folder or folder)


def _require(
  trained: str | None, tokenizer: Tokenizer, folder: Path, tokenizer_folder: Folder | None
) -> None:
  if trained != tokenizer.hash:
    named = f"the one in {tokenizer_folder}" if tokenizer_folder else "the one at hand"
    raise UserError(
      f"{folder} was trained with tokenizer {trained}, and {named} is {tokenizer.hash}: its ids stand for other text; "
      "use the model's tokenizer"
    )
