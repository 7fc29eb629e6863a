"""What stages read besides the text: word lists, samples, classifiers, evaluation sets."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gen.config.curation import Curation
from gen.data.curation import reading
from gen.data.curation.passes import shards
from gen.data.curation.rules import classifier, contamination, extraction, harmful
from gen.data.curation.rules.verdicts import Kept
from gen.data.document import Document
from gen.errors import UserError

CLASSIFIERS = {"quality": ("good", "raw"), "harmful_model": ("harmful", "harmless")}


class StageInputs(NamedTuple):
  """What stages need, read or trained.

  Attributes:
    words: of the stage harmful.
    models: file of the classifier of a stage.
    evaluation: of the stage contamination.
    notes: lines about it for the report.
  """

  words: harmful.WordList | None = None
  models: dict[str, Path] = {}  # noqa: RUF012  never changed
  evaluation: contamination.EvaluationNgrams | None = None
  notes: tuple[str, ...] = ()


def active_stages(config: Curation) -> list[str]:
  """Returns the stages that are not left out and have what they need."""
  needs = {
    "harmful": config.harmful.words,
    "harmful_model": config.harmful_model.model or config.harmful_model.harmful,
    "quality": config.quality.model or config.quality.good,
    "perplexity": config.perplexity.checkpoint,
    "contamination": config.contamination.evaluation,
    "budget": config.budget.bytes or config.budget.tokens,
  }
  return [name for name in config.stages if name not in config.without and needs.get(name, True)]


def fingerprint_inputs(config: Curation) -> dict[str, str]:
  """Returns a checksum of each file or corpus that a stage reads, by field of the config.

  Raises:
    UserError: if one cannot be read.
  """
  prints: dict[str, str] = {}
  active = active_stages(config)
  if "harmful" in active:
    prints["harmful.words"] = hashlib.sha256(harmful.read_list(config)).hexdigest()
  for stage, samples in CLASSIFIERS.items():
    if stage not in active:
      continue
    values = getattr(config, stage)
    if values.model:
      prints[f"{stage}.model"] = _file_checksum(Path(values.model).expanduser(), f"{stage}.model")
      continue
    for sample in samples:
      prints[f"{stage}.{sample}"] = _corpus_checksum(getattr(values, sample), config, f"{stage}.{sample}")
  if "contamination" in active:
    for name in config.contamination.evaluation:
      prints[f"contamination.evaluation {name}"] = _corpus_checksum(name, config, "contamination.evaluation")
  return prints


def _file_checksum(path: Path, field: str) -> str:
  try:
    with path.open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise UserError(f"{field} {path}: cannot be read: {error.strerror}") from error


def _corpus_checksum(name: str, config: Curation, field: str) -> str:
  opened = reading.open_sources([name], config, field)
  return hashlib.sha256(json.dumps(reading.fingerprint_source(opened[0])).encode()).hexdigest()


def require_outside(folder: Path, opened: Sequence[reading.RawSource]) -> None:
  """Checks that the result is not written among its sources, where the next run would read it.

  Raises:
    UserError: if it is.
  """
  for source in opened:
    root = reading.folder_of(source)
    if root is not None and folder.resolve().is_relative_to(root.resolve()):
      raise UserError(f"--output={folder} lies in the source {source.name}; name a folder outside of it")


def require_separate(opened: Sequence[reading.RawSource], config: Curation) -> None:
  """Checks that no evaluation set is also a source.

  Raises:
    UserError: if one is, because all of its documents would be dropped.
  """
  if "contamination" not in active_stages(config):
    return
  held = {path.resolve() for source in opened for _, path in source.files}
  names = {source.name for source in opened}
  for name in config.contamination.evaluation:
    evaluation = reading.open_sources([name], config, "contamination.evaluation")[0]
    shared = [path for _, path in evaluation.files if path.resolve() in held]
    if shared or name in names:
      raise UserError(
        f"{shared[0] if shared else name} is both a source and evaluation text; leave it out of --source or of"
        " contamination.evaluation"
      )


def read_sample(name: str, config: Curation) -> Iterator[Document]:
  """Yields the documents of a sample or an evaluation set, pages and mail as text.

  Raises:
    UserError: if it cannot be read.
  """
  reader = reading.Reader(reading.open_sources([name], config), config)
  for rows in reader.chunks():
    for row in rows:
      verdict = extraction.extract_text(Document(row.name, row.text), config.extract)
      if isinstance(verdict, Kept):
        yield verdict.document
      elif isinstance(verdict, Document):
        yield verdict


def prepare_inputs(config: Curation, folder: Path) -> StageInputs:
  """Reads what the stages need, and trains classifiers that are not in the folder yet.

  Raises:
    UserError: if something cannot be read, or a classifier cannot be trained.
  """
  active = active_stages(config)
  models: dict[str, Path] = {}
  notes = []
  for stage, samples in CLASSIFIERS.items():
    if stage not in active:
      continue
    model, facts = _find_model(stage, samples, config, folder)
    models[stage] = model
    notes.append(f"{stage}: {facts}")
  evaluation = None
  if "contamination" in active:
    documents = (
      document for name in config.contamination.evaluation for document in read_sample(name, config)
    )
    evaluation = contamination.collect_ngrams(documents, config.contamination)
    count = sum(len(grams) for _, grams in evaluation.grams)
    ignored = f", {evaluation.ignored:,} texts are too short" if evaluation.ignored else ""
    notes.append(f"contamination: {count:,} different n-grams{ignored}")
  words = harmful.load_list(config) if "harmful" in active else None
  if words is not None:
    notes.append(
      f"harmful: {len(words.severities):,} terms of severity {config.harmful.min_severity:g} or more"
    )
  return StageInputs(words, models, evaluation, tuple(notes))


def _find_model(stage: str, samples: tuple[str, str], config: Curation, folder: Path) -> tuple[Path, str]:
  """Returns the file of a classifier, trained if need be, and facts about it."""
  values: Any = getattr(config, stage)
  path = Path(values.model).expanduser() if values.model else folder / f"{stage}.npz"
  if not values.model and not path.exists():
    first, second = (read_sample(getattr(values, sample), config) for sample in samples)
    trained = classifier.train_classifier(first, second, stage)
    shards.write_file(path, classifier.encode_classifier(trained))
  facts = classifier.load_classifier(path).facts
  sizes = " and ".join(f"{size:,}" for size in facts.get("documents", ()))
  accuracy = (
    f", accuracy {facts['accuracy']:.1%} on {facts['held_out']:,} held out" if "accuracy" in facts else ""
  )
  return path, f"classifier of {sizes} documents{accuracy}"
