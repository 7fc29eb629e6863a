"""Pages are written in sentences of one idea: at most 35 words, and 17 on average per page."""

import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("[A-Z]*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST, MEAN = 35, 17  # words
CODE_BLOCK = re.compile(r"^\s*```.*?^\s*```", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"(?:[-*]|\d+\.)\s+")
SENTENCE_END = re.compile(r"(?<=[.!?])[)*_]*\s+(?=[A-Z\[`*(\d])")


def sentences(page):
  """Returns the sentences of a page outside code blocks, tables, headings and pictures; code in a line is one word."""
  paragraphs = [""]
  for line in CODE_BLOCK.sub("\n", page).splitlines():
    text = line.strip()
    if not text or text.startswith(("#", "|", "![")):
      paragraphs.append("")
    elif ITEM.match(text):
      paragraphs.append(ITEM.sub("", text, count=1))
    else:
      paragraphs[-1] += " " + text
  for paragraph in paragraphs:
    plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "CODE", paragraph))
    yield from (part for part in SENTENCE_END.split(plain.replace("et al.", "et al")) if part.strip())


def count_words(sentence):
  return sum(bool(re.search(r"\w", word)) for word in sentence.split())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_sentences_of_one_idea(path):
  counts = {sentence: count_words(sentence) for sentence in sentences(path.read_text())}
  assert not {sentence: count for sentence, count in counts.items() if count > LONGEST}
  assert not counts or statistics.mean(counts.values()) <= MEAN


def test_the_counter_sees_prose_and_nothing_else():
  page = (
    "# A title\n\nOne `a b. C` two. Three\nfour:\n- five six (7).\n\n```\nno prose. None.\n```\n| a | b |\n"
  )
  assert [count_words(sentence) for sentence in sentences(page)] == [3, 2, 3]


def test_the_readme_is_at_most_120_lines():
  assert len((ROOT / "README.md").read_text().splitlines()) <= 120
