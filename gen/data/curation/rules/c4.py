"""Rules of C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2): lines are removed, pages are dropped."""

import itertools
import re

from gen.config.curation import C4Rules
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document

# "lines that ended in a terminal punctuation mark (i.e. a period, exclamation mark, question mark, or end
# quotation mark)"
_ENDS = (".", "!", "?", '"', "”", "’", "»")
# Boilerplate policy notices: the phrases are the paper's.
_POLICIES = (
  "terms of use",
  "privacy policy",
  "cookie policy",
  "uses cookies",
  "use of cookies",
  "use cookies",
)
_CITATION = re.compile(r"\[(?:\d{1,4}|edit|citation needed)\]", re.I)  # "citation markers from Wikipedia"
_SENTENCE = re.compile(r"[.!?][\"”’»')\]]*(?=\s|$)")
_MAX_WORD = 1000  # characters; the authors' code drops lines with longer words


def clean_page(document: Document, rules: C4Rules) -> Verdict:
  """Removes lines that are no sentences, and drops pages of code, of filler, or of too few sentences."""
  text = document.text
  # "Some pages inadvertently contained code. Since the curly bracket { appears in many programming languages".
  if rules.brackets and "{" in text:
    return Drop("a curly bracket")
  lowered = text.lower()
  if rules.lorem_ipsum and "lorem ipsum" in lowered:
    return Drop("lorem ipsum")
  # "we removed any line with the word Javascript"
  phrases = ("javascript",) * rules.javascript + _POLICIES * rules.policies
  # Searched in the page first: most pages have none, and then no line has to be searched.
  phrases = tuple(phrase for phrase in phrases if phrase in lowered)
  if rules.citations and "[" in text:
    text = _CITATION.sub("", text)
  lines, removed = [], 0
  for line in text.split("\n"):
    stripped = line.strip()
    # Blank lines stay, since they part paragraphs, which later stages compare.
    if not stripped:
      lines.append("")
      continue
    if _is_kept(stripped, rules, phrases):
      lines.append(line)
    else:
      removed += 1
  cleaned = _join_lines(lines) if removed else text
  # As far as the rule needs: the count of a page that stays is of no use.
  sentences = sum(1 for _ in itertools.islice(_SENTENCE.finditer(cleaned), rules.min_sentences))
  if sentences < rules.min_sentences:
    return Drop("too few sentences", f"{sentences} after {removed:,} lines were removed")
  return Kept(Document(document.name, cleaned), counts={"lines removed": removed} if removed else {})


def _is_kept(line: str, rules: C4Rules, phrases: tuple[str, ...]) -> bool:
  """Returns whether a line stays; no phrase may occur in it."""
  # A line that breaks off in "..." is a teaser; the authors' code drops it although it ends in a period.
  if rules.end_punctuation and (not line.endswith(_ENDS) or line.endswith("...")):
    return False
  # Split only so far as the rule needs: a line may be megabytes long.
  if len(line.split(None, rules.min_words)) < rules.min_words:
    return False
  if len(line) > _MAX_WORD and max(map(len, line.split())) > _MAX_WORD:
    return False
  return not any(phrase in line.lower() for phrase in phrases)


def _join_lines(lines: list[str]) -> str:
  """Returns the lines as a text, with at most one blank line in a row."""
  return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
