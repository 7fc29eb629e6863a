"""Near-duplicates: candidates by MinHash bands, confirmed by exact Jaccard similarity; the first of a cluster stays.

Clusters are the connected components of confirmed pairs, so they do not depend on the order of comparison. A pair
whose documents are in one cluster already is not compared. Memory is 40 bytes a document, and the sets of candidates
are read from disk.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gen.config.curation import NearDuplicates as Parameters
from gen.data.curation.global_stages import minhash
from gen.data.curation.passes import shards
from gen.data.curation.passes.plan import Store
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Verdict
from gen.data.document import Document

# A band in which thousands of pages agree, such as boilerplate, would otherwise be compared pair by pair.
MAX_TRIED = 128  # documents of other clusters that one document is compared with in one group of a band
_OPEN_SHARDS = 256  # whose sets are in memory or mapped at a time


class NearDuplicateStage:
  """The stage near_duplicates."""

  name = "near_duplicates"

  def __init__(self, parameters: Parameters) -> None:
    """Chooses bands and rows."""
    self.parameters = parameters
    self.bands, self.rows = minhash.choose_bands(
      parameters.threshold, parameters.permutations, parameters.max_miss
    )

  def features(self, row: shards.Row) -> np.ndarray:
    """Returns the hashes of the bands, in one row."""
    shingles = words.all_shingles(row.text, self.parameters.ngram)
    signature = minhash.compute_signature(shingles, self.bands * self.rows, self.parameters.seed)
    hashes = minhash.hash_bands(signature, self.bands, self.rows)
    if not len(shingles):  # texts without words are alike only if they are equal
      hashes = np.full(self.bands, words.text_hash(f"{row.n} {row.name}"), np.uint64)
    return hashes[None, :]

  def decide(self, store: Store) -> None:
    """Writes for each document 0, or 1 + the position of the first of its cluster, which stays."""
    offsets = store.offsets()
    candidates = np.zeros(int(offsets[-1]), bool)
    # Two passes over the bands. The first marks the documents that share a band with any other: only their sets of
    # shingles, many times larger than signatures, are written to disk. The second compares.
    for band in range(self.bands):
      for group in equal_groups(_band(store, offsets, band)):
        candidates[group] = True
    sets = _CandidateSets(store, offsets, candidates, self.parameters.ngram)
    clusters = Clusters(len(candidates))
    for band in range(self.bands):
      for group in equal_groups(_band(store, offsets, band)):
        join_group(group, clusters, sets.load, self.parameters.threshold)
      store.say(f"near-duplicates: band {band + 1} of {self.bands}, {clusters.joined:,} documents joined")
    decision = store.open_decision(len(candidates), np.int64)
    if len(candidates):
      decision[:] = clusters.first_members()
    sets.remove()

  def apply(self, document: Document, decision: np.ndarray, name_of: Callable[[int], str]) -> Verdict:
    """Drops a document of a cluster that began before."""
    if not decision[0]:
      return document
    return Drop("nearly the words of another document", name_of(int(decision[0]) - 1))


class Clusters:
  """Disjoint sets of documents (union-find); the root of a cluster is its first document.

  Attributes:
    joined: documents that are not the first of their cluster.
  """

  def __init__(self, count: int) -> None:
    """Starts with each document alone."""
    self._parents = np.arange(count, dtype=np.int64)
    self.joined = 0

  def find(self, member: int) -> int:
    """Returns the first document of a cluster, and shortens the path to it."""
    root = member
    while self._parents[root] != root:
      root = int(self._parents[root])
    while self._parents[member] != root:
      self._parents[member], member = root, int(self._parents[member])
    return root

  def join(self, first: int, second: int) -> None:
    """Unites the clusters of two documents."""
    a, b = self.find(first), self.find(second)
    if a != b:
      # By position and not by rank as in the textbook: the root must be the first document, which is the one that
      # stays.
      self._parents[max(a, b)] = min(a, b)
      self.joined += 1

  def first_members(self) -> np.ndarray:
    """Returns for each document 0, or 1 + the first of its cluster if it is another."""
    roots = self._parents
    while not np.array_equal(roots, roots[roots]):
      roots = roots[roots]
    return np.where(roots == np.arange(len(roots)), 0, roots + 1)


def join_group(
  group: np.ndarray, clusters: Clusters, load: Callable[[int], np.ndarray], threshold: float
) -> None:
  """Confirms the pairs of documents that agree in a band, and joins their clusters.

  Args:
    group: positions of the documents, ascending.
    clusters: of all documents.
    load: returns the set of shingles of a document.
    threshold: minimum Jaccard similarity.
  """
  members: dict[int, list[int]] = {}  # of the group so far, by cluster
  for position in map(int, group):
    root, tried, own = clusters.find(position), 0, None
    # A copy of the keys, because `members` changes below.
    for other_root in [key for key in members if key != root]:
      for other in members[other_root]:
        tried += 1
        own = load(position) if own is None else own
        if _is_similar(own, load(other), threshold):
          clusters.join(position, other)
          # The shorter list is appended to the longer, so a document moves at most log2 n times.
          united = members.pop(other_root), members.pop(root, [])
          short, long = sorted(united, key=len)
          root = clusters.find(position)
          long += short
          members[root] = long
          break
        if tried == MAX_TRIED:
          break
      if tried == MAX_TRIED:
        break
    members.setdefault(root, []).append(position)


def _is_similar(first: np.ndarray, second: np.ndarray, threshold: float) -> bool:
  """Returns whether two sets reach the threshold; sizes alone may exclude it."""
  small, large = sorted((len(first), len(second)))
  # |A and B| is at most the smaller set, |A or B| at least the larger.
  if small < threshold * large:
    return False
  return minhash.jaccard_similarity(first, second) >= threshold


def _band(store: Store, offsets: np.ndarray, band: int) -> np.ndarray:
  """Returns the hash of one band of all documents."""
  hashes = np.empty(int(offsets[-1]), np.uint64)
  for index in range(store.shards):
    hashes[offsets[index] : offsets[index + 1]] = store.features(index)[:, band]
  return hashes


def equal_groups(hashes: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the positions of equal hashes, ascending, of each hash that occurs twice or more."""
  order = np.argsort(hashes, kind="stable")
  ordered = hashes[order]
  starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else order
  ends = np.append(starts[1:], len(ordered))
  for at in np.flatnonzero(ends - starts > 1):
    yield order[starts[at] : ends[at]]


class _CandidateSets:
  """The sets of shingles of candidates, which workers write and which are read from disk."""

  def __init__(self, store: Store, offsets: np.ndarray, candidates: np.ndarray, ngram: int) -> None:
    self._store, self._offsets = store, offsets
    self._numbers = [
      np.flatnonzero(candidates[offsets[index] : offsets[index + 1]]) for index in range(store.shards)
    ]
    arguments = [(numbers, ngram) for numbers in self._numbers]
    for _ in store.map_shards(write_sets, arguments):
      pass
    self._open = functools.lru_cache(_OPEN_SHARDS)(self._read)

  def load(self, position: int) -> np.ndarray:
    """Returns the set of a candidate."""
    index = int(np.searchsorted(self._offsets, position, "right")) - 1
    ends, values = self._open(index)
    at = int(np.searchsorted(self._numbers[index], position - self._offsets[index]))
    return values[ends[at] : ends[at + 1]]

  def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
    ends = shards.load_array(self._store.folder, index, "set_ends.npy")
    return ends, shards.load_array(self._store.folder, index, "sets.npy")

  def remove(self) -> None:
    """Removes the sets from disk."""
    self._open.cache_clear()
    for index in range(self._store.shards):
      for part in ("sets.npy", "set_ends.npy"):
        shards.shard_path(self._store.folder, index, part).unlink(missing_ok=True)


def write_sets(folder: Path, index: int, argument: Any) -> None:
  """Writes the sets of some documents of a shard; runs in a worker."""
  numbers, ngram = argument
  wanted = set(map(int, numbers))
  found = [
    words.shingle_set(row.text, ngram)
    for at, row in enumerate(shards.read_rows(folder, index) if wanted else ())
    if at in wanted
  ]
  ends = np.concatenate([[0], np.cumsum([len(values) for values in found], dtype=np.int64)])
  values = np.concatenate([np.zeros(0, np.uint64), *found])
  for part, array in (("sets.npy", values), ("set_ends.npy", ends.astype(np.int64))):
    shards.write_file(shards.shard_path(folder, index, part), shards.encode_array(array))
