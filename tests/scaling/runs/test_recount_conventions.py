"""Runs counted anew from the shapes beside them, against counts by hand and published tables."""

import json

import numpy as np
import pytest

from gen.config import Data, Model, Run, to_dict
from gen.errors import UserError
from gen.io import strict_json
from gen.scaling.runs import conventions, recount_conventions, runs_table

HEAD = "params,tokens,loss,width,depth,vocab,length"
ROWS = ["7,1e6,3.1,24,2,60,16", "8,2e6,3.0,40,3,60,16"]


def table(folder, head=HEAD, rows=ROWS):
  path = folder / "runs.csv"
  path.write_text("\n".join([head, *rows]) + "\n")
  return path


def recounted(path, text):
  return recount_conventions.recount_runs(
    runs_table.read_runs(path), recount_conventions.parse_choice(text), path
  )


def test_n_of_a_plain_decoder_is_the_count_by_hand(tmp_path):
  path = table(tmp_path)
  layers = [12 * 24**2 * 2, 12 * 40**2 * 3]
  assert recounted(path, "matrices").params.tolist() == [layers[0] + 24 * 60, layers[1] + 40 * 60]
  # Kaplan's N leaves out the head too; of the rest, norms are the difference to the matrices.
  norms = [24 * (2 * 2 + 1), 40 * (2 * 3 + 1)]
  assert recounted(path, "non_embedding").params.tolist() == [
    n + m for n, m in zip(layers, norms, strict=True)
  ]


def test_c_is_per_token_times_d_and_n_stays_the_file_s(tmp_path):
  found = recounted(table(tmp_path), "exact")
  each = [6 * (12 * d**2 * depth + d * 60) + 12 * depth * d * 16 for d, depth in ((24, 2), (40, 3))]
  assert found.flops.tolist() == pytest.approx([each[0] * 1e6, each[1] * 2e6])
  assert found.params.tolist() == [7, 8]
  both = recounted(table(tmp_path), "matrices,6nd")
  assert both.flops.tolist() == pytest.approx((6 * both.params * both.tokens).tolist())


def test_given_leaves_everything_and_needs_no_shape(tmp_path):
  path = table(tmp_path, "params,tokens,loss,flops", ["7,1e6,3.1,5e13", "8,2e6,3,9e13"])
  assert recounted(path, "given").flops.tolist() == [5e13, 9e13]
  assert recounted(path, "6nd").flops.tolist() == pytest.approx([4.2e7, 9.6e7])


def test_a_seventy_billion_chinchilla_has_its_paper_s_ratio(tmp_path):
  # Table A4: 6.8 B parameters, .99 of 6 N D; d 3584, 40 layers, ff 14336, kv 128, 28 heads (table A9), 2048 long.
  shape = "6.8e9,1e9,2,3584,40,32000,2048,14336,28,128"
  path = table(tmp_path, HEAD + ",feed_forward,heads,head_width", [shape, shape])
  ratio = recounted(path, "chinchilla_layers").flops / recounted(path, "6nd").flops
  assert ratio[0] == pytest.approx(0.99, abs=0.02)


def test_an_encoder_decoder_says_both_lengths_and_how_much_text_a_row_reads(tmp_path):
  head = HEAD + ",family,source_length,row_tokens,decoder_depth"
  path = table(tmp_path, head, ["7,1e6,3,24,2,60,9,encoder_decoder,30,35,1"] * 2)
  model = Model(
    family="encoder_decoder", width=24, depth=2, decoder_depth=1, vocab=60, heads=1, head_width=24
  )
  wanted = conventions.count_flops(model, 9, 30) / 35 * 1e6
  assert recounted(path, "exact").flops[0] == pytest.approx(wanted)
  for missing in ("source_length", "row_tokens"):
    less = table(tmp_path, head.replace(missing, "x"), ["7,1e6,3,24,2,60,9,encoder_decoder,30,35,1"])
    with pytest.raises(UserError, match=f"has no '{missing}'"):
      recount_conventions.read_shapes(less)


def test_a_journal_of_gen_has_its_shapes_in_its_configs(tmp_path):
  run = Run(model=Model(family="encoder_decoder", width=16, depth=1, heads=2, head_width=8, vocab=70),
            data=Data(objective="span_corruption", length=64), flops=1e9)  # fmt: skip
  row = {"kind": "result", "run": "a", "name": "a", "params": 5, "tokens": 1e5, "loss": 3.0, "flops": 1.0}
  path = tmp_path / "journal.jsonl"
  path.write_bytes(strict_json.encode_json(row | {"config": json.loads(json.dumps(to_dict(run)))}))
  (shape,) = recount_conventions.read_shapes(path)
  assert shape.source_length == 64 and 64 < shape.row_tokens < shape.source_length + shape.length
  assert recounted(path, "matrices").params[0] == conventions.count_parameters(run.model)


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("kaplen", "'kaplen' is not one of given, all, .*the nearest is 'kaplan'"),
    ("exact,kaplan", "counts C in two ways, exact and kaplan"),
    ("all,matrices", "counts N in two ways"),
  ],
)
def test_a_name_that_cannot_be_is_refused(text, sentence):
  with pytest.raises(UserError, match=sentence):
    recount_conventions.parse_choice(text)


@pytest.mark.parametrize(
  ("head", "row", "sentence"),
  [
    ("params,tokens,loss,width,depth", "7,1e6,3,24,2", "run 1 has no 'vocab'.*or leave --convention=given"),
    (HEAD, "7,1e6,3,24.5,2,60,16", "run 1: width is '24.5'; it must be a whole number"),
    (HEAD + ",family", "7,1e6,3,24,2,60,16,mamba", "family is 'mamba'"),
    (HEAD + ",tied", "7,1e6,3,24,2,60,16,maybe", "tied is 'maybe'; it must be true or false"),
  ],
)
def test_a_shape_that_is_missing_or_wrong_is_named(tmp_path, head, row, sentence):
  with pytest.raises(UserError, match=sentence):
    recounted(table(tmp_path, head, [row]), "matrices")


def test_budgets_are_counted_anew_where_their_runs_stay_equal_and_valleys_refused_where_not(tmp_path):
  head = "params,tokens,loss,flops,budget"
  rows = [(n, c / (k * n), 3.0, c, c) for c in (1e12, 4e12) for n, k in ((1e4, 9.0), (3e4, 8.8), (9e4, 8.7))]
  even = table(tmp_path, head, [",".join(map(str, row)) for row in rows])
  found = recounted(even, "6nd")
  assert (
    recount_conventions.unequal_reason(found, "6nd")
    == ""
    == recount_conventions.unequal_reason(recounted(even, "given"), "given")
  )
  assert np.unique(found.budget).tolist() == pytest.approx(
    [c * 6 / (9.0 * 8.8 * 8.7) ** (1 / 3) for c in (1e12, 4e12)]
  )
  rows = [(n, c / (k * n), 3.0, c, c) for c in (1e12, 4e12) for n, k in ((1e4, 11.0), (3e4, 8.8), (9e4, 7.1))]
  uneven = table(tmp_path, head, [",".join(map(str, row)) for row in rows])
  assert "differ in C by up to a factor 1.55" in recount_conventions.unequal_reason(
    recounted(uneven, "6nd"), "6nd"
  )
