"""The texts of a study of a curation: the raw text, and what is left after each stage that changes it.

Each text is the result of a curation with the first stages of the config, in a folder of its own. The raw text is the
result of no stage, read and written in the same way. A stage that changes no text has no runs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config.comparisons import CurationStudy
from gen.config.curation import STAGES, Curation
from gen.data.curation import funnel, inputs
from gen.errors import UserError
from gen.scaling.comparisons.curation_design import RAW

_ALL_BYTES = 1 << 60  # a budget that drops nothing: the stage that raw text passes
FOLDER = "corpora"  # in the folder of the study


class StageText(NamedTuple):
  """The text after a stage.

  Attributes:
    stage: its name, or raw.
    folder: a curated corpus.
    documents: number of documents.
    bytes: UTF-8 bytes of their text.
  """

  stage: str
  folder: Path
  documents: int
  bytes: int


def curate_stages(
  study: CurationStudy,
  sources: Sequence[str],
  folder: Path,
  report: Callable[[str], None],
  model: funnel.LanguageModelScorer | None = None,
) -> list[StageText]:
  """Returns the raw text, and the text after each stage to measure, from the folder if they were made before.

  Args:
    study: names the stages.
    sources: as experiments/curate.py takes them.
    folder: of the study.
    report: called with one line for each text.
    model: of the stage perplexity, which needs one.

  Raises:
    UserError: for anything that a curation refuses, and if no stage changes the text.
  """
  active = inputs.active_stages(study.curation)
  texts: list[StageText] = []
  shards: list[list[str]] = []
  for number, stage in enumerate((RAW, *active)):
    last = number == len(active)
    if stage != RAW and not last and study.after and stage not in study.after:
      continue
    place = folder / FOLDER / f"{number:02d}-{stage}"
    options = funnel.Options(study.sweep.workers, silent=True)
    outcome = funnel.curate_sources(
      sources, place, _first_stages(study.curation, active[:number]), options=options, model=model
    )
    written = [entry["sha256"] for entry in outcome.manifest["files"]]
    documents, size = outcome.stages[-1]["out"][:2]
    if shards and written == shards[-1]:
      report(f"{stage}: changes no text, so it has no runs")
      continue
    texts.append(StageText(stage, place, documents, size))
    shards.append(written)
    report(f"{stage}: {documents:,} documents, {size / 1e6:,.2f} MB left")
  if len(texts) < 2:
    raise UserError(
      "no stage changes the text, so there is nothing to compare; name stages that do, or another --source"
    )
  return texts


def _first_stages(curation: Curation, stages: Sequence[str]) -> Curation:
  """Returns the config of a curation of the first stages; functions of the user's own run after the last alone."""
  if stages:
    whole = list(stages) == inputs.active_stages(curation)
    own = tuple(text for text in curation.own if whole or text.partition("@")[2] in stages)
    return dataclasses.replace(
      curation, stages=tuple(name for name in STAGES if name in stages), without=(), own=own
    )
  everything: Any = dataclasses.replace(curation.budget, bytes=_ALL_BYTES, tokens=0, order="source")
  return dataclasses.replace(curation, stages=("budget",), without=(), own=(), budget=everything)
