"""The seal of a study's results.json: a checksum of the values that repeated trainings reproduce bit for bit.

It excludes times, dates and machines, so equal studies have equal seals. An atlas compares times too, so its seal is
of all of it.
"""

from gen.io import formats, seals

# Fields that differ from run to run of the same; the second list is of the whole study.
CLOCK = ("time", "seconds", "wall_seconds", "tokens_per_second", "gflops", "seconds_spent")
_REMEDY = "read it with the version of gen that wrote it, or fit its journal.jsonl again"
VARYING = ("created", "seconds", "utilization", "name", "config", "machine")


def seal_results(results: dict[str, object]) -> dict[str, object]:
  """Returns the results with their seal as the last entry."""
  return results | {seals.SEAL: seals.seal_of(_content(results))}


def reseal_results(results: dict[str, object]) -> dict[str, object]:
  """Returns derived results with a new seal if the original results had one."""
  return seal_results(results) if seals.SEAL in results else results


def check_results(results: dict[str, object], name: str) -> None:
  """Compares results with their seal and their format version, if they carry a seal.

  Results without a seal may be of another program.

  Args:
    results: as JSON held them.
    name: of their file, for the message.

  Raises:
    UserError: if a number was changed after it was written, or for results of another version.
  """
  if seals.SEAL in results or formats.FORMAT in results:
    check_format(results, name)
  if seals.SEAL in results:
    seals.without_seal(_content(results) | {seals.SEAL: results[seals.SEAL]}, name)


def check_format(results: dict[str, object], name: str) -> None:
  """Checks the format version of results.

  Args:
    results: as JSON held them.
    name: of their file, for the message.

  Raises:
    UserError: for another version, or none.
  """
  formats.without_format(results, formats.RESULTS, name, _REMEDY)


def _content(results: dict[str, object]) -> dict[str, object]:
  if "families" in results:
    return {name: value for name, value in results.items() if name != seals.SEAL}
  content = {name: value for name, value in results.items() if name not in (*VARYING, seals.SEAL)}
  points = content.get("points")
  if isinstance(points, list):
    content["points"] = [_without_clock(point) for point in points]
  return content


def _without_clock(point: object) -> object:
  if not isinstance(point, dict):
    return point
  return {name: value for name, value in point.items() if name not in CLOCK}
