"""Tables as people have them: names, separators, encodings and units of cells."""

import gzip
import json
import lzma

import pytest
import zstandard

from gen.errors import UserError
from gen.scaling.runs import run_columns, runs_table

PLAIN = "params,tokens,loss\n27000000,600000000,3.5\n81000000,200000000,3.25\n"


def read(tmp_path, content, name="mine.csv"):
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return runs_table.read_described(path)


@pytest.mark.parametrize(
  "head",
  ["model_size,train_tokens,final_loss", "N,D,L2,loss", "n_params,tokens_seen,val_loss",
   "non_embedding_params,D,eval/loss",
   "Parameters,Total Tokens,Final Loss", '"run-3 - n_params","run-3 - tokens","run-3 - eval/loss"'],
)  # fmt: skip
def test_names_that_people_give_are_recognized(tmp_path, head):
  cells = "27000000,600000000,9,3.5" if "L2" in head else "27000000,600000000,3.5"
  runs, said = read(tmp_path, f"{head}\n{cells}\n")
  assert (runs.params[0], runs.tokens[0], runs.loss[0]) == (27e6, 6e8, 3.5)
  assert any("is taken for N" in text or "is taken for the loss" in text for text in said)


def test_an_export_with_final_loss_and_flops_is_read_and_said(tmp_path):
  runs, said = read(
    tmp_path, "Name,State,params,tokens,final_loss,flops\nrun-0,finished,27000000,6e9,3.5,1e18\n"
  )
  assert runs.flops[0] == 1e18 and runs.names[0] == "run-0"
  assert said == ["'final_loss' is taken for the loss"]


def test_a_run_that_crashed_without_a_loss_is_left_out_and_said(tmp_path):
  text = "State,params,tokens,final_loss,flops\ncrashed,3000000,6e9,NaN,1e18\nfinished,9000000,6e9,3.5,1e18\n"
  runs, said = read(tmp_path, text)
  assert runs.params.tolist() == [9e6]
  assert said[-1] == "left out 1 run that did not finish, without a loss: line 2"
  with pytest.raises(UserError, match=r"loss must be finite .* row 1 \(line 2\)"):
    read(tmp_path, text.replace("crashed", "finished"))


def test_of_two_losses_the_preferred_is_taken_and_the_other_named(tmp_path):
  runs, said = read(tmp_path, "params,tokens,train_loss,val_loss,flops\n3000000,6e9,2.5,3.5,1e18\n")
  assert runs.loss[0] == 3.5
  assert said == ["'val_loss' is taken for the loss, not 'train_loss' (--loss_column chooses)"]


def test_minima_and_maxima_of_an_export_are_passed_over(tmp_path):
  head = "params,tokens,a - eval/loss__MIN,a - eval/loss,a - eval/loss__MAX"
  assert read(tmp_path, f"{head}\n3000000,6e9,2,3,4\n")[0].loss[0] == 3


@pytest.mark.parametrize(
  ("head", "cells"), [("params,loss,compute", "1e7,3.5,1.2e18"), ("D,loss,total_flops", "2e10,3.5,1.2e18")]
)
def test_the_third_of_size_data_and_compute_is_computed(tmp_path, head, cells):
  runs, said = read(tmp_path, f"{head}\n{cells}\n")
  assert (runs.params[0], runs.tokens[0]) == pytest.approx((1e7, 2e10))
  assert any("= C / (6" in text for text in said)


@pytest.mark.parametrize(
  ("cell", "value"),
  [("124M", 124e6), ("1.5B", 1.5e9), ("1,234,567", 1234567), ("7_000", 7000), ("2T", 2e12), ("3 k", 3e3), (" 5 ", 5),
   ("12,5", None), ("high", None), ("5%", None), ("1M5", None)],
)  # fmt: skip
def test_cells_may_have_units_and_thousands(cell, value):
  assert run_columns.parse_cell(cell) == value


@pytest.mark.parametrize(
  "content",
  [
    PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), PLAIN.replace(",", "|"),
    PLAIN.replace(",", ";").replace("3.5", "3,5").replace("3.25", "3,25"), b"\xef\xbb\xbf" + PLAIN.encode(),
    PLAIN.encode("utf-16"), "# made by us, by hand\n\n" + PLAIN.replace("\n", "\n\n"), gzip.compress(PLAIN.encode()),
    lzma.compress(PLAIN.encode()), zstandard.compress(PLAIN.encode()), PLAIN.replace("\n", "\r\n"),
    json.dumps([{"n_params": 27e6, "D": 6e8, "loss": 3.5}, {"n_params": 81e6, "D": 2e8, "loss": 3.25}]),
    gzip.compress(b'{"N": 27e6, "tokens": 6e8, "loss": 3.5}\n{"N": 81e6, "tokens": 2e8, "loss": 3.25}\n'),
  ],
)  # fmt: skip
def test_separators_encodings_and_packings_give_the_same_runs(tmp_path, content):
  runs, _ = read(tmp_path, content, "mine.data")
  assert runs.params.tolist() == [27e6, 81e6] and runs.tokens.tolist() == [6e8, 2e8]
  assert runs.loss.tolist() == [3.5, 3.25]


@pytest.mark.parametrize("packed", [gzip.compress, lzma.compress, zstandard.compress])
def test_a_damaged_packing_is_one_sentence(tmp_path, packed):
  with pytest.raises(UserError, match=r"damaged|is empty|no rows|has \d cells"):
    read(tmp_path, packed(PLAIN.encode() * 50)[:-9] + b"123", "mine.csv.gz")
