"""The stages of a config in their order: built in, and functions of the user's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config.curation import STAGES, Curation, check_curation
from gen.data.curation import c4, fineweb, gopher
from gen.data.curation.exact_duplicates import ExactDuplicates
from gen.data.curation.plan import GlobalStage, LocalStage
from gen.data.curation.verdicts import Verdict
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


_LOCAL = {
  "gopher_quality": gopher.check_quality,
  "gopher_repetition": gopher.check_repetition,
  "c4": c4.clean_page,
  "fineweb": fineweb.check_lines,
}


def build_stages(config: Curation) -> Stages:
  """Returns the stages that a curation runs.

  Raises:
    UserError: for an unknown stage, a function that cannot be imported, or no stage at all.
  """
  check_curation(config)
  own = [_parse_own(text, config) for text in config.own]
  stages: Stages = []
  for name in config.stages:
    if name not in config.without:
      stages += _builtin(name, config)
    stages += [stage for stage, after in own if after == name]
  stages += [stage for stage, after in own if not after]
  if not stages:
    raise UserError("no stage is left; name fewer in without")
  return stages


def _builtin(name: str, config: Curation) -> Stages:
  """Returns a stage, or none if it has nothing to do."""
  parameters: Any = getattr(config, name)
  if name in _LOCAL:
    return [LocalStage(name, _LOCAL[name], parameters)]
  if name in ("documents", "paragraphs", "lines"):
    return [ExactDuplicates(name, parameters)]
  return []


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
