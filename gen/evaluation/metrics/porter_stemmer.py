"""Porter's stemmer of English words (Porter 1980), with the extensions of NLTK that rouge-score uses."""

import itertools
from collections.abc import Callable
from functools import lru_cache

# NLTK's pool of irregular forms (mode NLTK_EXTENSIONS).
_IRREGULAR = {
  "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
  "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
  "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
_STEP2 = (  # suffix -> replacement, after a stem of positive measure
  "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize ation>ate"
  " ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful"
)
_STEP3 = "icate>ic ative> alize>al iciti>ic ical>ic ful> ness>"
_STEP4 = "al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> ion> ou> ism> ate> iti> ous> ive> ize>"


def _rules(text: str) -> tuple[tuple[str, str], ...]:
  return tuple((rule.partition(">")[0], rule.partition(">")[2]) for rule in text.split())


# Steps 2 to 4 of Porter 1980, each a table of suffixes.
_RULES = {2: _rules(_STEP2), 3: _rules(_STEP3), 4: _rules(_STEP4)}


@lru_cache(maxsize=1 << 16)
def stem_word(word: str) -> str:
  """Returns the stem of a word in small letters.

  >>> [stem_word(word) for word in ("caresses", "relational", "skies", "hopping")]
  ['caress', 'relat', 'sky', 'hop']
  """
  if word in _IRREGULAR:
    return _IRREGULAR[word]
  if len(word) <= 2:
    return word
  word = _step1c(_step1b(_step1a(word)))
  word = _apply(_RULES[3], _step2(word), lambda stem: _measure(stem) > 0)
  return _step5(_step4(word))


def _consonants(word: str) -> list[bool]:
  """Returns whether each letter is a consonant; y is one at the beginning and after a vowel."""
  flags: list[bool] = []
  for letter in word:
    flags.append(not (flags and flags[-1]) if letter == "y" else letter not in "aeiou")
  return flags


def _measure(stem: str) -> int:
  """Returns m of [C](VC){m}[V]: how often a consonant follows a vowel."""
  flags = _consonants(stem)
  return sum(after and not before for before, after in itertools.pairwise(flags))


def _ends_double(word: str) -> bool:
  return len(word) >= 2 and word[-1] == word[-2] and _consonants(word)[-1]


def _ends_short(word: str) -> bool:
  """Returns whether a word ends in consonant, vowel, consonant other than w, x, y; or is a vowel and a consonant."""
  flags = _consonants(word)
  if len(word) == 2:
    return flags == [False, True]
  return flags[-3:] == [True, False, True] and word[-1] not in "wxy"


def _apply(rules: tuple[tuple[str, str], ...], word: str, allows: Callable[[str], bool]) -> str:
  """Returns the word after the first rule whose suffix it has; unchanged if that stem is not allowed."""
  for suffix, replacement in rules:
    if word.endswith(suffix):
      stem = word[: len(word) - len(suffix)]
      return stem + replacement if allows(stem) else word
  return word


def _step1a(word: str) -> str:
  # Also of the extensions: four letters keep "ie", so that "dies" becomes "die" and not "di".
  if word.endswith("ies"):
    return word[:-1] if len(word) == 4 else word[:-2]
  if word.endswith("sses"):
    return word[:-2]
  return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _step1b(word: str) -> str:
  if word.endswith("ied"):
    return word[:-1] if len(word) == 4 else word[:-2]
  if word.endswith("eed"):
    return word[:-1] if _measure(word[:-3]) > 0 else word
  stem = next(
    (
      word[: -len(end)]
      for end in ("ed", "ing")
      if word.endswith(end) and not all(_consonants(word[: -len(end)]))
    ),
    "",
  )
  if not stem:
    return word
  if stem.endswith(("at", "bl", "iz")):
    return stem + "e"
  if _ends_double(stem):
    return stem if stem[-1] in "lsz" else stem[:-1]
  return stem + "e" if _measure(stem) == 1 and _ends_short(stem) else stem


def _step1c(word: str) -> str:
  stem = word[:-1]
  return stem + "i" if word.endswith("y") and len(stem) > 1 and _consonants(stem)[-1] else word


def _step2(word: str) -> str:
  # The extension for "-ally": what is left may end in another suffix of this step.
  if word.endswith("alli") and _measure(word[:-4]) > 0:
    return _step2(word[:-2])
  if word.endswith("logi"):
    # The l counts as part of the stem here.
    return word[:-1] if _measure(word[:-3]) > 0 else word
  return _apply(_RULES[2], word, lambda stem: _measure(stem) > 0)


def _step4(word: str) -> str:
  for suffix, _ in _RULES[4]:
    if word.endswith(suffix):
      stem = word[: len(word) - len(suffix)]
      allowed = _measure(stem) > 1 and (suffix != "ion" or stem[-1:] in ("s", "t"))
      return stem if allowed else word
  return word


def _step5(word: str) -> str:
  if word.endswith("e"):
    stem = word[:-1]
    measure = _measure(stem)
    if measure > 1 or (measure == 1 and not _ends_short(stem)):
      word = stem
  return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
