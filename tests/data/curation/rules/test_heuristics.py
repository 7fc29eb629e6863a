"""Each rule of Gopher, C4 and FineWeb drops what its paper describes, and the limits are the published ones."""

import random

import pytest

from gen.config.curation import C4Rules, FineWebRules, GopherQuality, GopherRepetition
from gen.data.curation.rules import c4, fineweb, gopher
from gen.data.curation.rules.verdicts import Drop, Kept
from gen.data.document import Document
from tests.data.curation.conftest import draw_document, draw_sentence

GOOD = draw_document(random.Random(7), 4)


def reason(apply, text, rules):
  """Returns the reason of a drop, or None."""
  verdict = apply(Document("a", text), rules)
  return verdict.reason if isinstance(verdict, Drop) else None


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    (GOOD, None),
    ("the and " * 24 + "word", "too few words"),
    ("the and " * 25, None),
    ("the and " * 50_001, "too many words"),
    ("a I " * 30 + "the and", "mean word length"),
    ("the and " + "internationalizations " * 60, "mean word length"),
    (GOOD + " ####" * 20, "symbols per word"),
    (GOOD.replace(" ", " ... ", 40), "symbols per word"),
    ("\n".join(f"- {line} the and" for line in ["some words here in a list"] * 12), "lines that begin with a bullet"),
    ("\n".join(["the words and more words of it..."] * 4 + ["the words and many more words of it."] * 8),
     "lines that end with an ellipsis"),
    (GOOD + " 12345" * 60, "words without a letter"),
    ("some words without any other kinds " * 12, "too few stop words"),
    ("some words without the other kinds " * 12, "too few stop words"),
  ],
)  # fmt: skip
def test_gopher_quality(text, expected):
  assert reason(gopher.check_quality, text, GopherQuality()) == expected


def test_words_with_a_letter_are_counted_as_the_rule_for_any_script_counts_them():
  rng = random.Random(2)
  for _ in range(200):
    text = "".join(rng.choice("aZ1_-# \t\n.\x1f\x0b\x00") for _ in range(40))
    counted = sum(any(letter.isalpha() for letter in word) for word in text.split())
    assert gopher.count_alphabetic(text) == gopher.count_alphabetic(text + " é") - 1 == counted, repr(text)


def test_a_stop_word_behind_a_long_beginning_counts():
  text = "plain words alone " * 400 + " the and"
  assert reason(gopher.check_quality, text, GopherQuality()) is None


def test_gopher_repetition_of_lines_and_paragraphs():
  rng = random.Random(3)
  lines = [draw_sentence(rng) for _ in range(20)]
  assert reason(gopher.check_repetition, "\n".join(lines), GopherRepetition()) is None
  few = [*lines, *["ok"] * 10]  # 9 of 30 lines repeat, which is 30 %
  assert reason(gopher.check_repetition, "\n".join(few), GopherRepetition()) is None
  assert reason(gopher.check_repetition, "\n".join([*few, "ok"]), GopherRepetition()) == "repeated lines"
  long = [*lines, *lines[:6]]
  assert (
    reason(gopher.check_repetition, "\n".join(long), GopherRepetition()) == "characters in repeated lines"
  )
  paragraphs = "\n\n".join(f"{line}\nx{at}" for at, line in enumerate(lines[:4]))
  repeated = paragraphs + "\n\n" + "\n\n".join(["y\nz"] * 4)
  wide = GopherRepetition(lines=1, line_characters=1)
  assert reason(gopher.check_repetition, repeated, wide) == "repeated paragraphs"


def shares_by_hand(text, n):
  """Returns the share of characters in the top n-gram, and that in repeated n-grams, by the definition."""
  words = text.split()
  grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
  total = sum(map(len, words))
  most = max(map(grams.count, grams))
  top = max(most * sum(map(len, gram)) for gram in grams if grams.count(gram) == most)
  covered = {at + k for at, gram in enumerate(grams) if gram in grams[:at] for k in range(n)}
  return top / total, sum(len(words[at]) for at in covered) / total


def test_shares_of_ngrams_equal_their_definition():
  rng = random.Random(5)
  text = " ".join(rng.choice(("one", "three", "of")) for _ in range(60))
  shares = {n: share for n, share, _ in gopher.ngram_shares(text.split(), GopherRepetition())}
  assert len(shares) >= 5
  for n, share in shares.items():
    assert share == pytest.approx(shares_by_hand(text, n)[0 if n < 5 else 1]), n


@pytest.mark.parametrize(
  ("extra", "expected"),
  [
    ("buy this now " * 20, "characters in the most frequent 2-gram"),
    (" ".join(f"w{at % 9}" for at in range(90)), "characters in repeated 5-grams"),
  ],
)
def test_gopher_repetition_of_ngrams(extra, expected):
  words = [f"word{at}" for at in range(60)]
  assert reason(gopher.check_repetition, " ".join(words), GopherRepetition()) is None
  assert reason(gopher.check_repetition, " ".join(words) + " " + extra, GopherRepetition()) == expected


def test_c4_removes_lines_and_marks():
  lines = [
    "This line has an end mark and five words.", "This one has none and goes away", "Too short line.",
    "Please enable Javascript to see this whole page.", "By going on you accept our Cookie Policy today.",
    "A quotation ends this long enough line, \u201ctruly.\u201d", "It goes on and on for ever...",
    "Water boils at a hundred degrees [12] by the sea [citation needed].", "Is this the third sentence of it?",
  ]  # fmt: skip
  verdict = c4.clean_page(Document("a", "\n".join(lines)), C4Rules())
  assert isinstance(verdict, Kept)
  assert verdict.document.text.split("\n") == [
    lines[0], lines[5], "Water boils at a hundred degrees  by the sea .", lines[8],
  ]  # fmt: skip
  assert verdict.counts == {"lines removed": 5}


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    (GOOD + "\n\nint main() { return 0; }", "a curly bracket"),
    (GOOD + "\n\nLorem ipsum dolor sit amet.", "lorem ipsum"),
    ("This page has only two sentences. They are long enough to stay.", "too few sentences"),
    ("This page has three sentences. They are long enough. So it stays where it is.", None),
  ],
)
def test_c4_drops_pages(text, expected):
  assert reason(c4.clean_page, text, C4Rules()) == expected


def test_fineweb_shares_of_lines():
  line = "This is a line of more than thirty characters"
  numbered = [f"{line} {at}" for at in range(25)]
  dotted = [text + "." for text in numbered]
  rules = FineWebRules()
  assert reason(fineweb.check_lines, "\n".join(dotted[:4] + numbered[4:]), rules) is None  # 16 %
  assert (
    reason(fineweb.check_lines, "\n".join(dotted[:3] + numbered[3:]), rules)
    == "lines that end in punctuation"
  )
  assert (
    reason(fineweb.check_lines, "\n".join([*dotted[:10], dotted[0]]), rules) is None
  )  # 9.1 % of characters
  assert (
    reason(fineweb.check_lines, "\n".join([*dotted[:9], *dotted[:2]]), rules)
    == "characters in repeated lines"
  )
  short = [f"short {at}." for at in range(20)]
  assert reason(fineweb.check_lines, "\n".join(dotted[:10] + short), rules) is None  # 66.7 %
  assert reason(fineweb.check_lines, "\n".join(dotted[:9] + short), rules) == "short lines"
