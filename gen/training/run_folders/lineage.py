"""Which runs of other lengths a run's folder began as, where it was extended; one sealed file.

    FOLDER/extended.json   {"now": hash, "earlier": [{"run": hash, "steps": 37, "at": 37}, ...]}

Checkpoints and rows of the journal keep the config that they were written with. The file says that these runs are the
same up to where it was extended, so nothing that was written has to be written again.
"""

import json
from pathlib import Path
from typing import NamedTuple

from gen.errors import UserError
from gen.io import checksums, formats, json_reading, seals

# A file of its own: the config in older checkpoints and rows stays as it was sealed.
FILE = "extended.json"


class Lineage(NamedTuple):
  """The runs of one folder.

  Attributes:
    now: hash of the run that goes on.
    earlier: hashes of the runs that it was extended from, with their steps and the step where that happened.
  """

  now: str = ""
  earlier: tuple[tuple[str, int, int], ...] = ()

  def joins(self, first: str, second: str) -> bool:
    """Returns whether two runs are the same one up to where it was extended."""
    # Earlier runs are equal among each other too: each is a beginning of the next.
    runs = {self.now, *(run for run, _, _ in self.earlier)}
    return first == second or {first, second} <= runs

  def accepts(self, run: str, written: str) -> bool:
    """Returns whether a run goes on from what was written by another."""
    return run == written or (run == self.now and self.joins(run, written))


def read_lineage(workdir: Path) -> Lineage:
  """Returns the runs of a folder; none where it was never extended.

  Raises:
    UserError: for a file that was changed.
  """
  path = workdir / FILE
  if not path.is_file():
    return Lineage()
  values = formats.without_format(json_reading.read_json(path), formats.RUN_FOLDER, str(path), formats.REMEDY)
  # The file decides which checkpoints count as this run's, so an edited one must not be believed.
  if seals.SEAL not in values:
    raise UserError(f"{path} has no seal; restore the file")
  plain = seals.without_seal(values, str(path))
  now = json_reading.require_field(plain, "now", str, str(path))
  earlier = json_reading.require_field(plain, "earlier", list, str(path))
  return Lineage(now, tuple((row["run"], row["steps"], row["at"]) for row in earlier))


def record_extension(workdir: Path, before: str, steps: int, now: str, at: int) -> None:
  """Writes that a run goes on from a step as a run of another length.

  Args:
    workdir: the folder.
    before: hash of the run as it was.
    steps: its length.
    now: hash of the run as it is.
    at: the step of its latest checkpoint.
  """
  # The run that goes on may have been an earlier one: extended, and shortened again before it was trained further.
  earlier = [*(row for row in read_lineage(workdir).earlier if row[0] != now), (before, steps, at)]
  rows = [{"run": run, "steps": count, "at": step} for run, count, step in earlier]
  values = seals.with_seal({"now": now, "earlier": rows})
  text = json.dumps(formats.with_format(values, formats.RUN_FOLDER), indent=1) + "\n"
  checksums.write_atomically(workdir / FILE, text.encode())
