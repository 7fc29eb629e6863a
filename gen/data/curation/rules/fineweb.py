"""Rules of FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6): shares of lines."""

from gen.config.curation import FineWebRules
from gen.data.curation.rules import gopher
from gen.data.curation.rules.verdicts import Drop, Verdict
from gen.data.document import Document

# English marks, and those of Chinese and Japanese, whose pages would otherwise all fail the first rule.
_PUNCTUATION = (".", "!", "?", '"', "'", "”", "’", "»", "…", "。", "！", "？", "」")


def check_lines(document: Document, rules: FineWebRules) -> Verdict:
  """Keeps a document whose lines are mostly sentences, not lists of links."""
  lines = [line for line in map(str.strip, document.text.split("\n")) if line]
  if not lines:
    return Drop("no lines")
  punctuated = sum(line.endswith(_PUNCTUATION) for line in lines) / len(lines)
  # Section 3.6: "fraction of lines ending with punctuation <= 0.12".
  if punctuated <= rules.min_punctuated:
    return Drop("lines that end in punctuation", f"{punctuated:.0%} of {len(lines):,} lines")
  total = sum(map(len, lines))
  repeated = gopher.repeated_units(lines)[1] / total
  # The first condition lets max_repeated=0 stand for "no repetition at all" without dropping every document.
  if repeated > 0 and repeated >= rules.max_repeated:  # "fraction of characters in duplicated lines >= 0.1"
    return Drop("characters in repeated lines", f"{repeated:.0%}")
  short = sum(len(line) < rules.short_line for line in lines) / len(lines)
  if short >= rules.max_short:  # "fraction of lines shorter than 30 characters >= 0.67"
    return Drop("short lines", f"{short:.0%} of {len(lines):,} lines")
  return document
