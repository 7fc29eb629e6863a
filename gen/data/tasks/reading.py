"""Reads the labelled data of a task from a file, a folder, a named set or a packaged archive."""

from collections.abc import Mapping
from types import MappingProxyType

from gen.data.tasks.examples import TaskData

NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


def load_task(
  task: str,
  source: str,
  *,
  columns: Mapping[str, str] = NO_COLUMNS,
  seed: int = 0,
  limit: int = 0,
  development: float = 0.1,
  test: float = 0.1,
  tag_scheme: str = "",
) -> TaskData:
  """Returns the examples of a task in three parts.

  Args:
    task: classify, tag, translate, summarize, answer or instruct.
    source: a file, a folder with train, validation and test files, tfds:NAME, or the name of a packaged set.
    columns: names of the data's columns by the names of the examples' fields, such as {"text": "review"}.
    seed: of the split.
    limit: number of training examples that are kept; 0 keeps all.
    development: share of the examples, where the data has no such part.
    test: the same.
    tag_scheme: IOB1, IOB2, IOE1, IOE2, BIOES or BILOU; empty detects it.

  Raises:
    UserError: for data that cannot be read or trained on; it names the file and the row.
  """
  raise NotImplementedError
