"""The stages of a curation with the published thresholds of Gopher, C4 and FineWeb.

uv run experiments/curate.py --source=raw.jsonl --output=corpora/clean
"""

from gen.config.curation import Curation


def get_config() -> Curation:
  """Returns the stages and their parameters."""
  return Curation()
