"""Titles, abstracts and roles of sentences, from two files of PubMed in a wheel."""

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from gen.data.tasks.sentences import split_sentences

_MEMBERS = ("data/pubmed20n0014.xml.gz", "data/pubmed21n1298.xml.gz")
_ROLES = ("BACKGROUND", "OBJECTIVE", "METHODS", "RESULTS", "CONCLUSIONS")
_MIN_WORDS = 3  # of a title
_MIN_ABSTRACT = 200  # characters


class Article(NamedTuple):
  """One record of PubMed.

  Attributes:
    identifier: its number.
    title: in English; in brackets where it is translated.
    vernacular: title in the article's language; empty for articles in English.
    sections: (role, text) of the abstract.
  """

  identifier: str
  title: str
  vernacular: str
  sections: tuple[tuple[str, str], ...]


def read_articles(wheel: Path) -> Iterator[Article]:
  """Yields the records of both files; a number that occurs again is left out."""
  seen = set()
  with zipfile.ZipFile(wheel) as archive:
    for member in _MEMBERS:
      with archive.open(member) as packed, gzip.open(packed) as stream:
        for _, element in ElementTree.iterparse(stream):
          if element.tag != "PubmedArticle":
            continue
          article = _read_article(element)
          element.clear()
          if article.identifier not in seen:
            seen.add(article.identifier)
            yield article


def _read_article(element: ElementTree.Element) -> Article:
  sections = tuple(
    (part.get("NlmCategory", ""), _text(part))
    for part in element.iterfind(".//Article/Abstract/AbstractText")
  )
  return Article(
    element.findtext(".//PMID") or "",
    _text(element.find(".//ArticleTitle")),
    _text(element.find(".//VernacularTitle")),
    sections,
  )


def _text(element: ElementTree.Element | None) -> str:
  return "" if element is None else " ".join("".join(element.itertext()).split())


def read_roles(wheel: Path) -> Iterator[dict[str, str]]:
  """Yields sentences of abstracts with the role of their section."""
  for article in read_articles(wheel):
    for role, text in article.sections:
      if role in _ROLES:
        for sentence in split_sentences(text):
          yield {"text": sentence, "label": role.lower(), "document": article.identifier}


def read_titles(wheel: Path) -> Iterator[dict[str, str]]:
  """Yields abstracts with titles that were written in English."""
  for article in read_articles(wheel):
    abstract = " ".join(text for _, text in article.sections if text)
    if (
      len(abstract) >= _MIN_ABSTRACT
      and not article.title.startswith("[")
      and len(article.title.split()) >= _MIN_WORDS
    ):
      yield {"source": abstract, "target": article.title, "document": article.identifier}


def read_translations(wheel: Path) -> Iterator[dict[str, str]]:
  """Yields titles in the article's language with their English translations, without the brackets around these."""
  for article in read_articles(wheel):
    title = article.title.rstrip(". ").removeprefix("[").removesuffix("]").strip(" ")
    if article.vernacular and len(title.split()) >= _MIN_WORDS:
      yield {
        "source": article.vernacular.rstrip(". "),
        "target": title.rstrip(". "),
        "document": article.identifier,
      }
