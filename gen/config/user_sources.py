"""Checksums of what a run is made of beside its config: the user's own code, and the checkpoint that it starts from."""

import dataclasses
import operator
from typing import Any

from gen.config.data import Data
from gen.config.model import Model
from gen.config.optimizer import Optimizer
from gen.config.references import CORPUS
from gen.config.run import Run
from gen.io import user_code

# Fields that may name objects of the user's own code.
FIELDS = (*Optimizer.own_code, *Model.own_code, *Data.own_code, *Run.own_code)
_CORPORA = ("data.corpus", "data.mixture")
START = "start_from="  # begins the entry of the checkpoint


def own_references(config: Any, prefix: str = "") -> dict[str, str]:
  """Returns the references in a config, by field.

  Args:
    config: a run, or one of its groups.
    prefix: path of that group, as "model."; empty for a run.
  """
  references: dict[str, str] = {}
  for path in FIELDS:
    if path.startswith(prefix) and path == "data.corpus":
      references |= corpus_names(config if prefix else config.data)
    elif path.startswith(prefix):
      value = operator.attrgetter(path.removeprefix(prefix))(config)
      if isinstance(value, str):
        references[path] = value
      else:
        references |= {f"{path}[{index}]": str(item) for index, item in enumerate(value)}
  return {
    path: text.removeprefix(CORPUS)
    for path, text in references.items()
    if user_code.is_reference(text) and (not path.startswith(_CORPORA) or text.startswith(CORPUS))
  }


def corpus_names(data: Data) -> dict[str, str]:
  """Returns the corpora that a run reads as the config names them, by field."""
  if data.mixture:
    return {f"data.mixture[{index}]": corpus.source for index, corpus in enumerate(data.mixture)}
  return {"data.corpus": data.corpus}


def with_sources(run: Run) -> Run:
  """Returns the run with the checksum of the source of each object of the user's own that it names.

  The entry of the checkpoint that it starts from stays as it is; see `gen.training.start_source`.

  Raises:
    UserError: for a reference that cannot be imported.
  """
  sources = tuple(f"{path}={_checksum(path, text)}" for path, text in own_references(run).items())
  sources += tuple(entry for entry in run.sources if run.start_from and entry.startswith(START))
  return run if sources == run.sources else dataclasses.replace(run, sources=sources)


def program_sources(model: Model, optimizer: Optimizer | None = None) -> tuple[str, ...]:
  """Returns the checksums of the code that a compiled program of a model and an optimizer depends on."""
  references = own_references(model, "model.")
  if optimizer is not None:
    references |= own_references(optimizer, "optimizer.")
  return tuple(_checksum(path, text) for path, text in references.items())


def edited_model(run: Run) -> list[str]:
  """Returns the fields of a saved run's model whose code of today is not the code that it was trained with."""
  today = {path: _checksum(path, text) for path, text in own_references(run.model, "model.").items()}
  return [path for path, checksum in today.items() if f"{path}={checksum}" not in run.sources]


def _checksum(path: str, reference: str) -> str:
  return user_code.source_checksum(reference, path)[:16]
