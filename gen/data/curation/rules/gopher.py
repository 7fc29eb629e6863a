"""Rules of Gopher (Rae et al. 2021, arXiv:2112.11446): quality, section A.1.1; repetition, table A1."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from gen.config.curation import GopherQuality, GopherRepetition
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Verdict
from gen.data.document import Document

_BULLETS = ("•", "‣", "▪", "◦", "●", "○", "*", "-", "–")  # "bullet point"; the characters are our choice
# Both spellings, since section A.1.1 names "the ellipsis" and web text has either.
_ELLIPSES = ("...", "…")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_FROM_LETTER = re.compile(
  r"[^\W\d_]\S*"
)  # from the first letter of a word to its end: one match for each word
# The same for ASCII: letters stay, white space becomes a space, and all else is deleted.
_LETTERS = bytes(32 if chr(code).isspace() else code for code in range(256))
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isspace() and not chr(code).isalpha())
_FIRST = 500  # words of a text that are searched for stop words before all of it is


def check_quality(document: Document, rules: GopherQuality) -> Verdict:
  """Keeps a document that passes the quality rules."""
  text = document.text
  # At spaces, not by `words.split_words`, which would count "it's" as two words and symbols as none.
  tokens = words.split_at_spaces(text)
  count = len(tokens)
  if not rules.min_words <= count <= rules.max_words:
    return Drop("too few words" if count < rules.min_words else "too many words", f"{count:,} words")
  mean = len("".join(tokens)) / count if count else 0.0
  if not rules.min_mean_word <= mean <= rules.max_mean_word:
    return Drop("mean word length", f"{mean:.2f} characters")
  ellipses = text.count("...") + text.count("…")
  # "symbol-to-word ratio greater than 0.1 for either the hash symbol or the ellipsis": the larger one, not the sum.
  symbols = max(text.count("#"), ellipses) / max(count, 1)
  if symbols > rules.max_symbols:
    return Drop("symbols per word", f"{symbols:.3f}")
  lines = [line for line in map(str.strip, text.split("\n")) if line]
  for reason, matched, limit in (
    ("lines that begin with a bullet", sum(line.startswith(_BULLETS) for line in lines), rules.max_bullets),
    ("lines that end with an ellipsis", sum(line.endswith(_ELLIPSES) for line in lines), rules.max_ellipses),
  ):
    if matched > limit * len(lines):
      return Drop(reason, f"{matched / len(lines):.0%} of {len(lines):,} lines")
  # "80% of words in a document contain at least one alphabetic character". Most documents pass by the cheap count.
  alphabetic = sum(map(str.isalpha, tokens))
  if alphabetic < rules.min_alphabetic * count:  # words with punctuation are searched only if they matter
    alphabetic = count_alphabetic(text)
  if alphabetic < rules.min_alphabetic * count:
    return Drop("words without a letter", f"{1 - alphabetic / count:.0%} of words")
  if rules.min_stop_words and not _has_stop_words(text, tokens, rules):
    return Drop("too few stop words", f"fewer than {rules.min_stop_words}")
  return document


def count_alphabetic(text: str) -> int:
  """Returns the number of words, parted by spaces, that hold a letter."""
  if text.isascii():
    return len(text.encode().translate(_LETTERS, _NO_LETTERS).split())
  return len(_FROM_LETTER.findall(text))


def _has_stop_words(text: str, tokens: list[str], rules: GopherQuality) -> bool:
  """Returns whether enough different stop words occur; most texts show it in their first words."""
  wanted = frozenset(rules.stop_words)
  # The first words decide for nearly all English prose; only a document that fails on them is split at punctuation.
  met = wanted.intersection(map(str.lower, tokens[:_FIRST]))
  if len(met) < rules.min_stop_words:
    met = wanted.intersection(words.split_words(text))
  return len(met) >= rules.min_stop_words


def check_repetition(document: Document, rules: GopherRepetition) -> Verdict:
  """Keeps a document that repeats itself no more than the rules allow."""
  text = document.text
  lines = [line for line in map(str.strip, text.split("\n")) if line]
  paragraphs = [part for part in map(str.strip, _PARAGRAPHS.split(text)) if part]
  for unit, units, limit, character_limit in (
    ("lines", lines, rules.lines, rules.line_characters),
    ("paragraphs", paragraphs, rules.paragraphs, rules.paragraph_characters),
  ):
    # ">" as in table A1's maxima; a product, because a document without units would divide by zero.
    count, characters = repeated_units(units)
    if count > limit * len(units):
      return Drop(f"repeated {unit}", f"{count / len(units):.0%} of {len(units):,}")
    total = sum(map(len, units))
    if characters > character_limit * total:
      return Drop(f"characters in repeated {unit}", f"{characters / total:.0%}")
  # The shares below are of the words' characters, without the spaces between them.
  tokens = words.split_at_spaces(text)
  if not tokens:
    return document
  for n, share, limit in ngram_shares(tokens, rules):
    if share > limit:
      kind = "the most frequent" if n < 5 else "repeated"
      return Drop(f"characters in {kind} {n}-gram{'' if n < 5 else 's'}", f"{share:.0%}")
  return document


def repeated_units(units: Sequence[str]) -> tuple[int, int]:
  """Returns how many units occurred before, and their characters."""
  if len(set(units)) == len(units):
    return 0, 0
  seen: set[str] = set()
  count = characters = 0
  for unit in units:
    if unit in seen:
      count += 1
      characters += len(unit)
    else:
      seen.add(unit)
  return count, characters


def ngram_shares(tokens: list[str], rules: GopherRepetition) -> Iterator[tuple[int, float, float]]:
  """Yields (n, share of the words' characters, limit): the most frequent 2- to 4-gram, then repeated 5- to 10-grams.

  All occurrences of the most frequent n-gram count. Of a repeated one those after its first count, as in the paper's
  rule for lines; with the first, the limits drop prose that quotes itself. Each character counts once.
  """
  lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
  total = int(lengths.sum())
  ends = np.concatenate([[0], np.cumsum(lengths)])
  # Only equality within the document counts, so the hash of this process is enough.
  hashes = np.fromiter(map(hash, tokens), np.int64, len(tokens)).view(np.uint64)
  # An n-gram repeats only if its first n - 1 words do. So each length looks at the positions that the one before left,
  # which are few after two words.
  at, grams = np.arange(len(tokens)), hashes
  for n, limit in enumerate((*rules.top_ngrams, *rules.ngrams), start=2):
    fits = int(np.searchsorted(at, len(tokens) - n, "right"))  # positions ascend
    at = at[:fits]
    grams = words.add_word(grams[:fits], hashes[at + (n - 1)])
    # Stable: of equal n-grams the first in the text comes first, and it is the one that does not count as repeated.
    order = np.argsort(grams, kind="stable")
    ordered = grams[order]
    same = ordered[1:] == ordered[:-1]  # as the one before
    if not same.any():
      return  # longer n-grams do not repeat either
    if n < 5:
      edges = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
      counts = edges[1:] - edges[:-1]
      most = counts.max()
      # Of equally frequent n-grams the longest counts, so the result does not depend on the order of hashes.
      best = at[order[edges[:-1][counts == most]]]
      yield n, float(most * (ends[best + n] - ends[best]).max() / total), limit
    else:
      repeats = at[order[1:][same]]
      # A difference array: its running sum is above zero inside any repeated n-gram, so an overlap counts once.
      covered = np.zeros(len(tokens) + 1, np.int64)
      covered[repeats] += 1  # each position occurs once
      covered[repeats + n] -= 1
      yield n, float(lengths[np.cumsum(covered[:-1]) > 0].sum() / total), limit
    repeated = np.zeros(len(order), bool)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    at, grams = at[repeated], grams[repeated]
