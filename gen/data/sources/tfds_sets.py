"""Named sets of TensorFlow Datasets, read from array_record files without TensorFlow."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gen.data.document import Document
from gen.data.sources.file_formats.records import text_of_record
from gen.errors import UserError


class NamedSet:
  """One split of one set, such as `wiki40b/en`, that has been prepared in TFDS's folder.

  Nothing is downloaded automatically: a set may have hundreds of gigabytes, and some need a cluster.
  """

  def __init__(self, name: str, split: str) -> None:
    """Opens the set.

    Args:
      name: TFDS's name with its config, such as lm1b or c4/en; the folder is TFDS's own ($TFDS_DATA_DIR).
      split: TFDS's split, which may be a part, such as train[:1%].

    Raises:
      UserError: if there is no such set or split, or it has not been prepared.
    """
    self.name, self.split = name, split
    builder = _find_builder(name)
    self._source = self._open(builder)
    self.full_name = builder.info.full_name
    self.features = builder.info.features
    self._folder = Path(builder.data_path)

  def _open(self, builder: Any) -> Any:
    try:
      source = builder.as_data_source(split=self.split)
    except Exception as error:  # AssertionError, ValueError, KeyError, NotImplementedError, OSError ...
      raise UserError(f"data.corpus tfds:{self.name}: {self._reason(builder, error)}") from error
    if isinstance(source, dict):
      raise UserError(f"data.corpus tfds:{self.name}: data.split is {self.split!r}; it must name one split")
    return source

  def _reason(self, builder: Any, error: Exception) -> str:
    splits = ", ".join(builder.info.splits or ())
    if splits:
      return f"cannot read split {self.split!r} (it has {splits}): {_first_line(error)}"
    return (
      f"not prepared in {builder.data_path}; set TFDS_DATA_DIR to where it is, or prepare it:"
      " python -c 'import tensorflow_datasets as tfds;"
      f' tfds.builder("{self.name}", file_format="array_record").download_and_prepare()\''
    )

  def fingerprint(self) -> list[Any]:
    """Returns JSON-compatible values that identify the content."""
    files = sorted(self._folder.glob("*")) if self._folder.is_dir() else []
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return [self.full_name, self.split, len(self._source), stamps]

  def records(self) -> Iterator[dict[str, Any]]:
    """Yields the records, each a value for each feature."""
    for index in range(len(self._source)):
      yield self._source[index]

  def documents(self, field: str) -> Iterator[Document]:
    """Yields one document per record.

    Raises:
      UserError: if a record lacks the field or it is not UTF-8.
    """
    for index in range(len(self._source)):
      where = f"tfds:{self.name}/{self.split}:{index}"
      yield Document(where, text_of_record(self._source[index], field, where))


def list_splits(name: str) -> list[str]:
  """Returns the names of a set's splits; none if it has not been prepared.

  Raises:
    UserError: if there is no such set.
  """
  return list(_find_builder(name).info.splits or ())


def _find_builder(name: str) -> Any:
  import tensorflow_datasets as tfds

  try:
    # TFDS itself reads the variable only once, when it is imported.
    return tfds.builder(name, file_format="array_record", data_dir=os.environ.get("TFDS_DATA_DIR"))
  except tfds.core.DatasetNotFoundError as error:
    raise UserError(f"data.corpus tfds:{name}: TFDS has no such set{_nearest(str(error))}") from None
  # TFDS raises various errors: AssertionError for a version, ValueError for a config.
  except Exception as error:
    raise UserError(f"data.corpus tfds:{name}: cannot be opened: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
  return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _nearest(message: str) -> str:
  matched = re.search(r"Did you mean:.*-> *(\S+)", message)
  return f"; did you mean {matched.group(1)}?" if matched else ""
