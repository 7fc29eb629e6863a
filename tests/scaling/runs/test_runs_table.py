"""Reading runs: what is read, how they are grouped, and what a mistake in a table says."""

import gzip
import json
import re
import time

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.runs import runs_table

HEAD = "params,tokens,loss\n"


@pytest.fixture
def csv(tmp_path):
  """Writes a table and returns its path."""

  def write(text, name="runs.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path

  return write


def test_a_table_a_journal_and_results_give_the_same_runs(csv):
  table = csv("name,params,tokens,loss,flops,budget,seed,held_out\na,10,200,3.5,13000,1e4,0,false\n"
              "b,20,100,3.4,13000,1e4,1,true\n")  # fmt: skip
  rows = [
    {"kind": "result", "run": "x", "name": "a", "params": 10, "tokens": 200, "loss": 3.5, "flops": 13000,
     "budget": 1e4, "seed": 0, "held_out": False},
    {"kind": "train", "run": "y", "loss": 9.0},
    {"kind": "result", "run": "y", "name": "b", "params": 20, "tokens": 100, "loss": 3.4, "flops": 13000,
     "budget": 1e4, "seed": 1, "held_out": True},
  ]  # fmt: skip
  journal = csv("".join(json.dumps(row) + "\n" for row in rows), "journal.jsonl")
  results = csv(json.dumps({"points": [row for row in rows if row["kind"] == "result"]}), "results.json")
  for path in (table, journal, results):
    found = runs_table.read_runs(path)
    assert found.params.tolist() == [10, 20] and found.tokens.tolist() == [200, 100]
    assert found.loss.tolist() == [3.5, 3.4] and found.flops.tolist() == [13000, 13000]
    assert found.held_out.tolist() == [False, True] and list(found.names) == ["a", "b"]
    assert found.seed.tolist() == [0, 1]


def test_columns_may_have_other_names_and_flops_default_to_six_n_d(csv):
  found = runs_table.read_runs(csv("N,D,L\n10,200,3.5\n"), {"params": "N", "tokens": "D", "loss": "L"})
  assert found.flops.tolist() == [12000] and found.names.tolist() == ["row 1"]


@pytest.mark.parametrize(
  ("cell", "shown"), [("nan", "nan"), ("0", "0"), ("-3", "-3"), ("inf", "inf"), ("", "nan"), ("-inf", "-inf")]
)
@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
def test_a_number_that_cannot_be_names_its_column_row_and_line(csv, column, cell, shown):
  row = {"params": "10", "tokens": "200", "loss": "3.5"} | {column: cell}
  text = HEAD + "10,200,3.5\n\n" + ",".join(row.values()) + "\n"
  with pytest.raises(
    UserError, match=re.escape(f"{column} must be finite and above zero, but is {shown} in row 2 (line 4)")
  ):
    runs_table.read_runs(csv(text))


def test_many_bad_rows_are_counted_not_all_listed(csv):
  with pytest.raises(UserError, match=r"in rows 1 \(line 2\), .* and 12 more; correct or remove them"):
    runs_table.read_runs(csv(HEAD + "10,200,-1\n" * 20))


def test_a_word_among_numbers_is_shown_with_its_row(csv):
  with pytest.raises(UserError, match=r"loss in row 2 \(line 3\) is not a number: 'low'"):
    runs_table.read_runs(csv(HEAD + "10,200,3.5\n10,200,low\n"))


@pytest.mark.parametrize(
  ("head", "missing", "near"),
  [("params,tokens,los", "loss", "los"), ("paramz,tokens,loss", "params", "paramz"),
   ("params,tokns,loss", "tokens", "tokns")],
)  # fmt: skip
def test_a_missing_column_is_named_with_the_nearest_and_what_each_looks_like(csv, head, missing, near):
  with pytest.raises(UserError) as error:
    runs_table.read_runs(csv(f"{head},note\n10,200,3.5,good\n20,100,3.25,bad\n"))
  said = str(error.value)
  assert f"no column '{missing}'" in said and f"the nearest is '{near}' (--{missing}_column={near}" in said
  assert f"{head.split(',')[0]!r} (numbers from 10 to 20)" in said and "'note' (words such as 'good')" in said


def test_a_column_that_is_asked_for_by_name_must_exist(csv):
  with pytest.raises(UserError, match="no column 'compute'"):
    runs_table.read_runs(csv(HEAD + "10,200,3.5\n"), {"flops": "compute"})


@pytest.mark.parametrize(
  ("text", "said"),
  [("", "is empty"), ("\n\n", "is empty"), (HEAD, "no rows"), (HEAD + "10,200\n", "line 2 has 2 cells"),
   ("params,tokens,loss,loss\n1,2,3,4\n", "2 columns 'loss'")],
)  # fmt: skip
def test_a_table_of_the_wrong_shape_is_refused(csv, text, said):
  with pytest.raises(UserError, match=said):
    runs_table.read_runs(csv(text))


def test_a_broken_line_of_a_journal_is_named_and_a_torn_last_one_passed_over(csv):
  line = json.dumps({"kind": "result", "run": "a", "params": 1, "tokens": 2, "loss": 3.0})
  with pytest.raises(UserError, match=r"line 2 of .*journal\.jsonl is not JSON"):
    runs_table.read_runs(csv(f"{line}\n{{broken\n{line}\n", "journal.jsonl"))
  assert len(runs_table.read_runs(csv(f'{line}\n{{"kind": "res', "journal.jsonl"))) == 1


def test_of_a_run_that_ended_twice_the_last_result_counts(csv):
  lines = [
    json.dumps({"kind": "result", "run": "a", "params": 1, "tokens": 2, "loss": loss}) for loss in (3.0, 2.5)
  ]
  assert runs_table.read_runs(csv("\n".join(lines) + "\n", "journal.jsonl")).loss.tolist() == [2.5]


def test_files_that_cannot_be_read_say_why(tmp_path, csv):
  with pytest.raises(UserError, match="no such file"):
    runs_table.read_runs(tmp_path / "absent.csv")
  (tmp_path / "latin.csv").write_bytes(b"params,tokens,loss,name\n1,2,3,caf\xe9\n")
  with pytest.raises(UserError, match="invalid UTF-8 at byte 33"):
    runs_table.read_runs(tmp_path / "latin.csv")
  with pytest.raises(UserError, match="cannot read"):
    runs_table.read_runs(tmp_path)
  with pytest.raises(UserError, match="no list of points"):
    runs_table.read_runs(csv('{"points": 3}', "results.json"))
  with pytest.raises(UserError, match="holds no finished runs"):
    runs_table.read_runs(csv('{"kind": "train"}\n', "journal.jsonl"))


def test_a_missing_or_empty_field_of_a_result_is_an_error_with_its_number():
  rows = [{"params": 1, "tokens": 2, "loss": 3.0}, {"params": 1, "loss": 3.0}]
  with pytest.raises(UserError, match="result 2 has no 'tokens'"):
    runs_table.runs_from_rows(rows)
  with pytest.raises(UserError, match="loss must be finite and above zero, but is nan in row 1"):
    runs_table.runs_from_rows([{"params": 1, "tokens": 2, "loss": None}])


def test_whole_numbers_above_two_to_the_63_keep_their_size(csv):
  found = runs_table.read_runs(csv(HEAD + f"{2**70},{10**19},3.5\n"))
  assert found.params.tolist() == [2.0**70] and found.flops.tolist() == [6 * 2.0**70 * 1e19]
  again = runs_table.runs_from_rows([{"params": 2**70, "tokens": 10**19, "loss": 3.5}])
  assert again.flops.tolist() == found.flops.tolist()
  assert runs_table.make_runs([2**70, 5], [10**19, 7], [3.5, 3.0]).params.tolist() == [2.0**70, 5]


@pytest.mark.slow
def test_a_table_of_a_million_rows_is_read_in_seconds(csv):
  random = np.random.default_rng(0)
  params, tokens = random.integers(1, 10**9, (2, 1_000_000))
  text = HEAD + "".join(f"{n},{d},3.25\n" for n, d in zip(params.tolist(), tokens.tolist(), strict=True))
  begun = time.process_time()
  found = runs_table.read_runs(csv(text))
  assert time.process_time() - begun < 20
  assert (found.params == params).all() and (found.tokens == tokens).all()


def test_lists_of_different_lengths_or_shapes_are_refused():
  with pytest.raises(UserError, match="tokens has 1 values, params has 2"):
    runs_table.make_runs([1, 2], [3], [4, 5])
  with pytest.raises(UserError, match="one list of numbers"):
    runs_table.make_runs([[1, 2]], [[3, 4]], [[5, 6]])
  with pytest.raises(UserError, match="params must be numbers"):
    runs_table.make_runs(["a"], [1], [2])


def test_runs_group_by_nominal_budget_or_else_by_nearly_equal_flops():
  flops = [1.02e12, 5e12, 0.98e12, 5.1e12, 1e12]
  runs = runs_table.make_runs(np.ones(5), np.ones(5), np.ones(5), flops)
  assert runs.groups().tolist() == [0, 1, 0, 1, 0]
  assert runs.group_flops() == pytest.approx([(1.02 * 0.98) ** (1 / 3) * 1e12, np.sqrt(5 * 5.1) * 1e12])
  named = runs_table.make_runs(np.ones(5), np.ones(5), np.ones(5), flops, budget=[3, 9, 3, 9, 4])
  assert named.groups().tolist() == [0, 2, 0, 2, 1] and named.group_flops() == pytest.approx([3, 4, 9])


def test_a_chain_of_neighbours_does_not_become_one_budget():
  flops = np.geomspace(1e12, 1e13, 60)  # 4 % apart
  groups = runs_table.make_runs(np.ones(60), np.ones(60), np.ones(60), flops).groups()
  widest = max(np.ptp(np.log(flops[groups == group])) for group in range(groups.max() + 1))
  assert widest < np.log(1.25) and (np.diff(groups) >= 0).all()


def test_cells_are_runs_that_differ_by_seed_only():
  runs = runs_table.make_runs(
    [5, 7, 5, 5], [1, 1, 1, 1], [1, 1, 1, 1], budget=[2, 2, 2, 9], seed=[0, 0, 1, 0]
  )
  cell, count = runs_table.run_cells(runs)
  assert cell.tolist() == [0, 1, 0, 2] and count == 3


def test_the_highest_losses_can_be_left_out():
  runs = runs_table.make_runs([1, 2, 3], [1, 1, 1], [3.0, 5.0, 4.0])
  assert runs.without_top_losses(2).params.tolist() == [1]
  with pytest.raises(UserError, match="from 0 to 2"):
    runs.without_top_losses(3)


def test_a_cell_without_an_end_is_named_by_its_line(tmp_path):
  (tmp_path / "runs.csv").write_text('params,tokens,loss\n1e6,1e8,3\n"' + "9" * 200_000 + "\n")
  with pytest.raises(UserError, match=r"runs.csv: line 3 has a cell of more than 131,072 characters"):
    runs_table.read_runs(tmp_path / "runs.csv")


def test_a_budget_that_is_not_above_zero_is_a_mistake():
  with pytest.raises(UserError, match="budget is -1 in row 2"):
    runs_table.make_runs([1e6, 2e6], [1e8, 1e8], [3, 2.9], budget=[1e12, -1])


def test_a_table_that_unpacks_to_gigabytes_is_refused_without_unpacking_it(tmp_path):
  with gzip.open(tmp_path / "bomb.csv.gz", "wb", 1) as stream:
    stream.write(b"params,tokens,loss\n")
    for _ in range(300):
      stream.write(b"0" * (1 << 20))
  begun = time.process_time()
  with pytest.raises(UserError, match="unpacks to more than 268,435,456 bytes, too many for a table of runs"):
    runs_table.read_runs(tmp_path / "bomb.csv.gz")
  assert time.process_time() - begun < 5
