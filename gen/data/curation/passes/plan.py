"""The stages of a curation as passes over the text: each ends where a stage needs all documents at once."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gen.data.curation.passes import shards
from gen.data.curation.rules.verdicts import Apply, Verdict
from gen.data.document import Document


class LocalStage(NamedTuple):
  """A stage that looks at one document at a time.

  Attributes:
    name: in the config.
    apply: a pure function of a document and the parameters.
    parameters: a dataclass that can be pickled.
  """

  name: str
  apply: Apply
  parameters: Any


class GlobalStage(Protocol):
  """A stage whose answer for one document depends on others.

  Workers compute features of each document; one process decides from all features; the next pass applies the decision.

  Attributes:
    name: in the config.
  """

  name: str

  def features(self, row: shards.Row) -> np.ndarray:
    """Returns what the decision needs of a document, along the first axis."""

  def decide(self, store: "Store") -> None:
    """Writes the file `decision.npy` of a pass from the features of all of its documents."""

  def apply(self, document: Document, decision: np.ndarray, name_of: Callable[[int], str]) -> Verdict:
    """Returns the verdict on a document, given the decision about its features."""


@dataclasses.dataclass
class Pass:
  """One pass over all documents.

  Attributes:
    number: from 0.
    decided: the stage whose decision is applied first, if any.
    local: the stages after it.
    features_of: the stage whose features are computed last, if any.
  """

  number: int
  decided: GlobalStage | None = None
  local: list[LocalStage] = dataclasses.field(default_factory=list)
  features_of: GlobalStage | None = None

  @property
  def stage_names(self) -> list[str]:
    """Names of the stages whose verdicts fall in this pass."""
    return [*([self.decided.name] if self.decided else []), *(stage.name for stage in self.local)]


class Store(NamedTuple):
  """The shards that a pass wrote.

  Attributes:
    folder: of the pass.
    shards: their number.
    map_shards: calls a picklable function with (folder, shard index, further argument) in all workers.
    say: prints a line of progress.
  """

  folder: Path
  shards: int
  map_shards: Callable[[Callable[[Path, int, Any], Any], Sequence[Any]], Iterator[Any]]
  say: Callable[[str], None]

  def offsets(self) -> np.ndarray:
    """Returns the position of each shard's first feature among all, and their number."""
    counts = [len(shards.load_array(self.folder, index, "features.npy")) for index in range(self.shards)]
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

  def features(self, index: int) -> np.ndarray:
    """Returns the features of one shard."""
    return shards.load_array(self.folder, index, "features.npy")

  def open_decision(self, length: int, dtype: Any) -> np.ndarray:
    """Returns an array on disk for the decision about each feature, zero at first."""
    path = self.folder / "decision.npy"
    try:
      if not length:  # an empty file cannot be mapped
        np.save(path, np.zeros(0, dtype))
        return np.zeros(0, dtype)
      # Written once, so that a full disk is an error here and not a signal when a page is flushed.
      with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.zeros(1, dtype)) | {"shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        size = length * np.dtype(dtype).itemsize
        for start in range(0, size, 1 << 20):
          file.write(bytes(min(1 << 20, size - start)))
    except OSError as error:
      raise shards.no_space(path, error) from error
    return np.lib.format.open_memmap(path, mode="r+")


def make_passes(stages: Sequence[LocalStage | GlobalStage]) -> list[Pass]:
  """Returns the passes of stages in their order."""
  passes = [Pass(0)]
  for stage in stages:
    if isinstance(stage, LocalStage):
      passes[-1].local.append(stage)
    else:
      passes[-1].features_of = stage
      passes.append(Pass(len(passes), decided=stage))
  return passes
