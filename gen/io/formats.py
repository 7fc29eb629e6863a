"""Versions of what is written to disk; a file of another version is one sentence.

A version rises where a reader of today could misread what an older one wrote, or the other way round.
"""

from collections.abc import Mapping

from gen.errors import UserError

FORMAT = "format"  # the field that holds a version
RUN_FOLDER, JOURNAL, RESULTS, QUANTIZATION = 1, 1, 1, 1
REMEDY = "read it with the gen that wrote it, or train anew in another --workdir"


def with_format(values: Mapping[str, object], version: int) -> dict[str, object]:
  """Returns an object with its version as the first field."""
  return {FORMAT: version, **values}


def without_format(values: Mapping[str, object], version: int, name: str, remedy: str) -> dict[str, object]:
  """Returns an object without its version.

  Args:
    values: as JSON held them.
    version: the version that is read.
    name: what errors call the object, for example "runs/a/config.json".
    remedy: what the user can do about another version.

  Raises:
    UserError: for another version, or none.

  >>> without_format({"format": 1, "seed": 3}, 1, "a.json", "train the run anew")
  {'seed': 3}
  """
  if values.get(FORMAT) != version:
    has = f"has format version {str(values[FORMAT])[:20]}" if FORMAT in values else "has no format version"
    raise UserError(f"{name} {has}, where this version of gen reads {version}; {remedy}")
  return {key: value for key, value in values.items() if key != FORMAT}
