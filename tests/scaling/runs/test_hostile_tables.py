"""A table of runs that is damaged or meant to harm is one sentence, soon and with little memory."""

import json
import os

import numpy as np
import pytest

from gen.errors import UserError
from gen.io import seals
from gen.scaling.audits import audit
from gen.scaling.runs import bootstrap, runs_table
from tests import hostile

ROWS = [(10**7 * n, 10**9 * d, 3.9 - 0.1 * n - 0.05 * d) for n in (1, 2, 3) for d in (1, 4)]
HEAD = "params,tokens,loss\n"
GOOD = HEAD + "".join(f"{n},{d},{loss:.3f}\n" for n, d, loss in ROWS)


def lines(**changed):
  """Returns JSON lines, with fields of the third changed."""
  rows = [dict(zip(("params", "tokens", "loss"), row, strict=True)) for row in ROWS]
  rows[2] |= changed
  return "".join(json.dumps(row) + "\n" for row in rows)


def journal(**changed):
  rows = [{"kind": "result", "run": f"r{i}", "loss": 3.0, "row": i} for i in (1, 2)]
  rows[0] |= {"kind": "train", "format": 1} | changed
  return "".join(json.dumps(seals.with_seal(row)) + "\n" for row in rows)


def nested(depth):
  return '{"kind": "train", "seal": "0", "a": ' + "[" * depth + "]" * depth + "}\n"


REFUSED = {
  "no zero bytes": (GOOD.replace("3.", "3\0.", 1), "is not a number"),
  "a million columns": (HEAD[:-1] + ",c" * 10**6 + "\n", "1,000,003 cells"),
  "many columns without a loss": ("params,tokens" + ",c" * 9000 + "\n" + "1,2" + ",3" * 9000, "no column 'loss'"),
  "a line of 20 MB": (GOOD + "x" * 20_000_000, "line 8 has a cell of more than 131,072 characters"),
  "a quote without end": (GOOD.replace("\n2", '\n"2', 1), "line 4 opens a quote that is never closed"),
  "rows inside a quote": (
    "name," + HEAD + '"a,1,2,3\nb,2,3,4\nc",3,4,5\n',
    "lines 2 to 4 are one row",
  ),
  "a cell too many": (GOOD + "1,5,2e9,3.1\n", "line 8 has 4 cells, but the first line names 3 columns"),
  "a cell too few": (GOOD + "1\n", "line 8 has 1 cell, the first line 3"),
  "names of columns twice": ("loss," + GOOD, "has 2 columns 'loss'"),
  "nothing": ("", "is empty"),
  "names alone": (HEAD, "has no rows"),
  "a word": (GOOD.replace("3.", "0x1F#", 1), "is not a number"),
  "too large a number": (GOOD.replace("10000000", "1e400", 1), "finite and above zero"),
  "a list for a number": (lines(loss=[3.0]), "loss in row 3 is a list, not a number"),
  "true for a number": (lines(loss=True), "loss in row 3 is true or false, not a number"),
  "text for a number": (lines(params="many"), "params in row 3 is not a number: 'many'"),
  "digits without end": (lines(params=10**400), "finite and above zero"),
  "a row without its loss": (
    lines().replace('"loss"', '"val_loss"') + '{"params": 1, "tokens": 2}\n',
    "row 7 has no 'val_loss'",
  ),
  "one broken line": ('{"params": 1, "loss": 3', "is not JSON"),
  "a nest in a sealed row": (nested(960) + nested(975) + nested(985), "nested too deeply|is not JSON|was changed"),
  "text for the count of rows": (journal(rows="x"), "'rows' of a row is text, not a count"),
  "null for the count of rows": (journal(rows=None), "'rows' of a row is null, not a count"),
  "a negative count of rows": (journal(rows=-3), "'rows' of a row is a whole number, not a count"),
  "a list for the number of a row": (journal(row=[1]), "'row' of a row is a list, not a count"),
}  # fmt: skip


def refused(path, content=None):
  if content is not None:
    path.write_text(content)

  def read():
    runs = runs_table.read_runs(path)
    runs_table.read_curves(path, runs)

  return hostile.outcome(read, len(content or ""))


@pytest.mark.parametrize("key", REFUSED)
def test_a_table_that_is_none_is_one_sentence(tmp_path, key):
  content, sentence = REFUSED[key]
  said = refused(tmp_path / "runs.csv", content)
  assert any(part in said for part in sentence.split("|")), said


def test_what_is_no_file_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.csv")
  (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
  assert "it is a pipe" in refused(tmp_path / "pipe.csv")
  assert "cannot read" in refused(tmp_path / "loop.csv")
  assert "it is a folder" in refused(tmp_path)
  for device in ("/dev/zero", "/dev/null"):
    (tmp_path / "device.csv").unlink(missing_ok=True)
    (tmp_path / "device.csv").symlink_to(device)
    assert "it is a device" in refused(tmp_path / "device.csv")


def test_a_file_of_terabytes_is_not_read(tmp_path):
  with (tmp_path / "runs.csv").open("wb") as file:
    file.truncate(1 << 40)
  assert "too many for a table of runs" in refused(tmp_path / "runs.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_read_with_and_without_a_mark(tmp_path, encoding):
  (tmp_path / "runs.csv").write_bytes(GOOD.encode(encoding))
  np.testing.assert_array_equal(runs_table.read_runs(tmp_path / "runs.csv").params, [row[0] for row in ROWS])


def test_a_loss_keeps_its_point_beside_decimal_commas(tmp_path):
  (tmp_path / "runs.csv").write_text(
    "params;tokens;loss\n100000,5;1000000000,5;3.047\n200000,5;1000000000,5;2,991\n"
  )
  runs = runs_table.read_runs(tmp_path / "runs.csv")
  np.testing.assert_allclose(runs.loss, [3.047, 2.991])
  np.testing.assert_allclose(runs.params, [100000.5, 200000.5])


def test_a_field_kind_of_another_program_makes_no_journal(tmp_path):
  (tmp_path / "runs.jsonl").write_text(lines(kind="dense"))
  assert len(runs_table.read_runs(tmp_path / "runs.jsonl")) == len(ROWS)


def test_runs_whose_name_is_a_list_have_curves_without_an_error(tmp_path):
  (tmp_path / "runs.jsonl").write_text(lines(kind="result", run=["a"]))
  assert runs_table.read_curves(tmp_path / "runs.jsonl", runs_table.read_runs(tmp_path / "runs.jsonl")) == []


def test_an_interval_of_draws_beyond_any_cube_is_finite():
  draws = np.geomspace(1e-3, 1e200, 31)
  interval = bootstrap.draw_interval(draws, 1e3, 0.9, left_out=np.geomspace(1e-3, 1e180, 7))
  assert np.all(np.isfinite(interval))


def test_other_counts_of_parameters_are_read_where_the_file_has_them(tmp_path):
  (tmp_path / "runs.csv").write_text(
    "params_total," + GOOD.replace("\n1", "\n7,1").replace("\n2", "\n7,2").replace("\n3", "\n7,3")
  )
  others = audit.other_params(tmp_path / "runs.csv", {})
  assert list(others) == ["params_total"] and set(others["params_total"]) == {7.0}


def test_a_sealed_row_that_nests_is_refused_or_changed():
  for depth in range(900, 1000, 7):
    try:
      row = json.loads(nested(depth))
    except RecursionError:
      break
    with pytest.raises(UserError):
      seals.without_seal(row, "line 1")
