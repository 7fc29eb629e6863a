"""Checks of examples as a whole: labels that train lacks, and classes of very unequal size."""

from collections import Counter
from collections.abc import Sequence

from gen.data.tasks.builders.placed import Placed
from gen.data.tasks.examples import TaggedExample
from gen.data.tasks.splits import Parts
from gen.errors import UserError

# Share of the largest class that is worth a warning; chosen: accuracy then says less than .8 against a constant answer.
_LARGE = 0.8
_SMALL = 0.02  # of the smallest; chosen: two of a hundred test examples, too few to measure its recall
# Classes that a warning names: one line of text.
_SHOWN = 6


def require_known_labels(parts: Parts) -> None:
  """Refuses labels of development and test that train does not have.

  Raises:
    UserError: for the first of them, with its row.
  """
  known = {label for item in parts["train"] for label in labels_of(item)}
  for part in ("development", "test"):
    for item in parts[part]:
      for label in labels_of(item):
        if label not in known:
          raise UserError(
            f"{item.where}: the label {label!r} of {part} does not occur in train ({', '.join(sorted(known)[:12])});"
            " correct it, or add examples to train"
          )


def labels_of(item: Placed) -> Sequence[str]:
  """Returns the labels of an example."""
  if isinstance(item.example, TaggedExample):
    return item.example.tags
  label = getattr(item.example, "label", "")
  return (label,) if label else ()


def warn_of_lost_labels(train: Sequence[Placed], labels: Sequence[str]) -> list[str]:
  """Returns a warning with the labels that no training example has."""
  known = {label for item in train for label in labels_of(item)}
  lost = [label for label in labels if label not in known]
  if not lost:
    return []
  shown = ", ".join(map(repr, lost[:_SHOWN])) + (", ..." if len(lost) > _SHOWN else "")
  return [f"warning: {len(lost)} of {len(labels)} labels have no training example ({shown}); raise the limit"]


def warn_of_imbalance(train: Sequence[Placed]) -> list[str]:
  """Returns a warning with the shares of classes if they are very unequal."""
  counts = Counter(label for item in train for label in labels_of(item) if hasattr(item.example, "label"))
  total = sum(counts.values())
  if len(counts) < 2:
    return []
  ordered = counts.most_common()
  if ordered[0][1] < _LARGE * total and ordered[-1][1] >= min(_SMALL, 0.2 / len(counts)) * total:
    return []
  shown = [f"{label!r} {count / total:.1%}" for label, count in ordered]
  listed = shown if len(shown) <= _SHOWN else [*shown[: _SHOWN - 2], "...", shown[-1]]
  return [
    f"warning: the classes of train are unbalanced: {', '.join(listed)}; compare macro F1, or use class weights"
  ]
