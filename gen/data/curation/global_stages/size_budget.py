"""A budget of bytes or tokens: documents in an order, until the next one would exceed it."""

from collections.abc import Callable

import numpy as np

from gen.config.curation import Budget
from gen.data.curation.passes import shards
from gen.data.curation.passes.plan import Store
from gen.data.curation.rules import words
from gen.data.curation.rules.verdicts import Drop, Verdict
from gen.data.document import Document


class BudgetStage:
  """The stage budget."""

  name = "budget"

  def __init__(self, parameters: Budget) -> None:
    """Stores the limits and the order."""
    self.parameters = parameters

  def features(self, row: shards.Row) -> np.ndarray:
    """Returns bytes, tokens, and the key by which documents are ordered."""
    key = 0.0  # of all, so that the order of the sources stays
    if self.parameters.order == "random":
      # 53 of 64 bits, so that the float64 is exact. A hash instead of a shuffle: a document keeps its place as others
      # come.
      key = float(words.text_hash(f"{self.parameters.seed} {row.name} {row.n}") >> 11)
    elif self.parameters.order == "quality":
      key = -float(row.scores.get("quality", 0.0))
    return np.array([[len(row.text.encode("utf-8", "surrogatepass")), row.tokens, key]])

  def decide(self, store: Store) -> None:
    """Marks the documents beyond the budget with 1."""
    parts = [store.features(index) for index in range(store.shards)]
    rows = np.concatenate([np.zeros((0, 3)), *parts])
    # Stable: equal keys keep the order of the sources.
    order = np.argsort(rows[:, 2], kind="stable")
    stays = np.ones(len(rows), bool)
    for column, limit in enumerate((self.parameters.bytes, self.parameters.tokens)):
      if limit:
        # A prefix of the order, without later documents that would still fit: those would favor short texts.
        stays &= np.cumsum(rows[order, column]) <= limit
    decision = store.open_decision(len(rows), np.uint8)
    decision[order] = ~stays

  def apply(self, document: Document, decision: np.ndarray, name_of: Callable[[int], str]) -> Verdict:
    """Drops a document beyond the budget."""
    return Drop("beyond the budget") if decision[0] else document
