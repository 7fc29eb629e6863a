"""Measures the stage near_duplicates against datasketch on texts with planted near-copies, and compares the clusters.

    uv run --with datasketch scripts/benchmark_near_duplicates.py --documents=4000 --json=-

Both take sets of 3-word shingles, 128 permutations, 25 bands of 5 rows, and confirm each candidate by its exact Jaccard
similarity. `stage` and `datasketch` get the texts in memory and write nothing. `curation` is a whole curation with this
stage alone, with reading, writing and the report. Rounds take turns; times are seconds of processor time.
"""

import functools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gen.cli import launch
from gen.config.curation import Curation, NearDuplicates
from gen.errors import UserError
from gen.io import json_report, outputs, quantities

if TYPE_CHECKING:
  from gen.data.curation.global_stages import near_duplicates

DOCUMENTS = quantities.DEFINE_integer(
  "documents", 4000, "Texts, half of them near-copies.", lower_bound=2, upper_bound=1_000_000
)
ROUNDS = quantities.DEFINE_integer("rounds", 3, "Rounds.", lower_bound=1, upper_bound=1000)
JSON = outputs.DEFINE_json()

_CHANGED = (0.01, 0.03, 0.036, 0.06)  # shares of words that differ: similarities around .94, .83, .80, .70
_VOCABULARY = 20_000


def main() -> None:
  """Measures both, and prints the times, their ratio and whether the clusters agree."""
  try:
    import datasketch  # noqa: F401  imported where it is used; here its absence ends the run at once
  except ImportError:
    raise UserError("datasketch is not installed; run this script with `uv run --with datasketch`") from None
  target = json_report.report_target(JSON.value)
  texts = plant_copies(DOCUMENTS.value)
  times: dict[str, list[float]] = {"stage": [], "datasketch": [], "curation": []}
  clusters: dict[str, dict[int, int]] = {}
  with tempfile.TemporaryDirectory() as folder:
    source = Path(folder) / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for number in range(ROUNDS.value):
      for name, find in (
        ("stage", functools.partial(cluster_by_stage, texts)),
        ("datasketch", functools.partial(cluster_by_datasketch, texts)),
        ("curation", functools.partial(curate, source, Path(folder) / f"round{number}")),
      ):
        begun = time.process_time()
        clusters[name] = find()
        times[name].append(time.process_time() - begun)
  medians = {name: statistics.median(values) for name, values in times.items()}
  results = {
    "documents": len(texts),
    "seconds": times,
    "ratio": medians["datasketch"] / medians["stage"],
    "dropped": len(clusters["stage"]),
    "equal": clusters["stage"] == clusters["datasketch"] == clusters["curation"],
  }
  json_report.write_report(results, target)
  agree = "equal" if results["equal"] else "different"
  print(
    f"{len(texts):,} texts, {results['dropped']:,} near-copies: stage {medians['stage']:.2f} s, datasketch"
    f" {medians['datasketch']:.2f} s ({results['ratio']:.2f} times), whole curation {medians['curation']:.2f} s;"
    f" clusters {agree}"
  )


def plant_copies(count: int, seed: int = 0) -> list[str]:
  """Returns texts of 90 to 400 words, of which every second is a copy of another with some words replaced."""
  rng = random.Random(seed)
  vocabulary = [f"word{number}" for number in range(_VOCABULARY)]
  texts = []
  for number in range((count + 1) // 2):
    drawn = [rng.choice(vocabulary) for _ in range(rng.randint(90, 400))]
    texts.append(" ".join(drawn))
    for at in rng.sample(range(len(drawn)), round(len(drawn) * _CHANGED[number % len(_CHANGED)])):
      drawn[at] = rng.choice(vocabulary)
    texts.append(" ".join(drawn))
  rng.shuffle(texts)
  return texts[:count]


def cluster_by_stage(texts: Sequence[str]) -> dict[int, int]:
  """Returns for each text of a cluster but its first that first one, by the functions of the stage in memory."""
  import numpy as np

  from gen.data.curation.global_stages import near_duplicates
  from gen.data.curation.passes.shards import Row
  from gen.data.curation.rules import words

  rules = NearDuplicates()
  stage = near_duplicates.NearDuplicateStage(rules)
  hashes = np.concatenate([stage.features(Row(at, "", str(at), text)) for at, text in enumerate(texts)])
  load_set = functools.cache(lambda at: words.shingle_set(texts[at], rules.ngram))
  clusters = near_duplicates.Clusters(len(texts))
  for band in range(stage.bands):
    for group in near_duplicates.equal_groups(hashes[:, band]):
      near_duplicates.join_group(group, clusters, load_set, rules.threshold)
  return _first_members(clusters)


def curate(source: Path, folder: Path) -> dict[int, int]:
  """Returns the same, from the drops of a whole curation in this process."""
  from gen.data.curation import funnel

  funnel.curate_sources(
    [str(source)], folder, Curation(stages=("near_duplicates",)), options=funnel.Options(1, silent=True)
  )
  drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
  return {drop["n"]: int(drop["detail"].rpartition(":")[2]) - 1 for drop in drops}


def cluster_by_datasketch(texts: Sequence[str]) -> dict[int, int]:
  """Returns the same, found by datasketch; candidates are confirmed in the same way."""
  import datasketch

  from gen.data.curation.global_stages import minhash, near_duplicates

  rules = NearDuplicates()
  bands, rows = minhash.choose_bands(rules.threshold, rules.permutations, rules.max_miss)
  index = datasketch.MinHashLSH(num_perm=rules.permutations, params=(bands, rows))
  sets: list[set[bytes]] = []
  clusters = near_duplicates.Clusters(len(texts))
  for at, text in enumerate(texts):
    words = text.split()
    shingles = {
      " ".join(words[start : start + rules.ngram]).encode() for start in range(len(words) - rules.ngram + 1)
    }
    signature = datasketch.MinHash(num_perm=rules.permutations)
    signature.update_batch(shingles)
    for other in index.query(signature):
      shared = len(shingles & sets[other])
      if shared >= rules.threshold * (len(shingles) + len(sets[other]) - shared):
        clusters.join(at, other)
    index.insert(at, signature)
    sets.append(shingles)
  return _first_members(clusters)


def _first_members(clusters: "near_duplicates.Clusters") -> dict[int, int]:
  return {at: int(first) - 1 for at, first in enumerate(clusters.first_members()) if first}


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
