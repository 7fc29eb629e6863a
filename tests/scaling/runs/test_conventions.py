"""Counts in named conventions: the published tables come out, and every family by hand."""

import dataclasses

import pytest

from gen import counts, presets
from gen.config import FAMILIES, Model
from gen.errors import UserError
from gen.scaling.laws.loss_law.law import HOFFMANN_2022
from gen.scaling.planning import budgets, published
from gen.scaling.runs import conventions

# Table D.1 of arXiv:2005.14165: PF-days, FLOPs, parameters (M), tokens (B), FLOPs a parameter and token.
TABLE_D1 = {
  "t5-small": (2.08, 1.80e20, 60, 1000, 3),
  "t5-base": (7.64, 6.60e20, 220, 1000, 3),
  "t5-large": (26.7, 2.31e21, 770, 1000, 3),
  "t5-3b": (104, 9.00e21, 3000, 1000, 3),
  "t5-11b": (382, 3.30e22, 11_000, 1000, 3),
  "bert-base": (1.89, 1.64e20, 109, 250, 6),
  "bert-large": (6.16, 5.33e20, 355, 250, 6),
  "roberta-base": (17.4, 1.50e21, 125, 2000, 6),
  "roberta-large": (49.3, 4.26e21, 355, 2000, 6),
  "gpt3-small": (2.60, 2.25e20, 125, 300, 6),
  "gpt3-medium": (7.42, 6.41e20, 356, 300, 6),
  "gpt3-large": (15.8, 1.37e21, 760, 300, 6),
  "gpt3-xl": (27.5, 2.38e21, 1320, 300, 6),
  "gpt3-2.7b": (55.2, 4.77e21, 2650, 300, 6),
  "gpt3-6.7b": (139, 1.20e22, 6660, 300, 6),
  "gpt3-13b": (268, 2.31e22, 12_850, 300, 6),
  "gpt3-175b": (3640, 3.14e23, 174_600, 300, 6),
}
# Table A3 of arXiv:2203.15556: parameters; FLOPs and tokens by approach 2; the same by approach 3.
TABLE_A3 = [
  (400e6, 1.84e19, 7.7e9, 2.21e19, 9.2e9),
  (1e9, 1.20e20, 20.0e9, 1.62e20, 27.1e9),
  (10e9, 1.32e22, 219.5e9, 2.46e22, 410.1e9),
  (67e9, 6.88e23, 1.7e12, 1.71e24, 4.1e12),
  (175e9, 4.54e24, 4.3e12, 1.26e24, 12.0e12),
  (280e9, 1.18e25, 7.1e12, 3.52e25, 20.1e12),
  (520e9, 4.19e25, 13.4e12, 1.36e26, 43.5e12),
  (1e12, 1.59e26, 26.5e12, 5.65e26, 94.1e12),
  (10e12, 1.75e28, 292.0e12, 8.55e28, 1425.5e12),
]
MISPRINTED = (175e9, 1.26e24)  # approach 3; 6 N D of its own row, and the law, say ten times as much
# Table A4: parameters in millions (as table A9 has them), depth, width, feed-forward width, heads, key width, and
# FLOPs over 6 N D.
TABLE_A4 = [
  (73, 10, 640, 2560, 10, 64, 1.03),
  (305, 20, 1024, 4096, 16, 64, 1.10),
  (552, 24, 1280, 5120, 10, 128, 1.08),
  (1143, 26, 1792, 7168, 14, 128, 1.04),
  (1593, 28, 2048, 8192, 16, 128, 1.03),
  (6796, 40, 3584, 14_336, 28, 128, 0.99),
]
LENGTH = 2048


@pytest.mark.parametrize("name", TABLE_D1)
def test_every_row_of_gpt3s_table_of_compute_comes_out(name):
  days, flops, millions, billions, factor = TABLE_D1[name]
  counted = conventions.six_nd(millions * 1e6, billions * 1e9, share=factor / 6)
  assert counted == pytest.approx(flops, rel=0.005)
  assert budgets.pf_days_of(counted) == pytest.approx(days, rel=0.005)


@pytest.mark.parametrize("name", [name for name in TABLE_D1 if name != "bert-large"])
def test_the_tables_compute_comes_out_of_our_own_count_of_the_models_parameters(name):
  days, _, _, billions, factor = TABLE_D1[name]
  params = conventions.count_parameters(presets.get_model(name), "all")
  within = 0.06 if name.startswith("t5") else 0.02  # the table rounds T5's sizes to the names of the models
  assert budgets.pf_days_of(conventions.six_nd(params, billions * 1e9, share=factor / 6)) == pytest.approx(
    days, rel=within
  )


def test_the_table_counts_bert_large_with_robertas_parameters():
  ours = conventions.count_parameters(presets.get_model("bert-large"), "all")
  assert ours == pytest.approx(335e6, rel=0.01) and TABLE_D1["bert-large"][2] == 355


def cells_of_table_a3():
  for params, second, second_tokens, third, third_tokens in TABLE_A3:
    yield params, second, second_tokens, 2
    yield params, third, third_tokens, 3


def test_every_cell_of_chinchillas_table_of_budgets_but_one_is_six_n_d():
  wrong = [
    (params, flops)
    for params, flops, tokens, _ in cells_of_table_a3()
    if conventions.six_nd(params, tokens) != pytest.approx(flops, rel=0.05)
  ]
  assert wrong == [MISPRINTED]
  assert conventions.six_nd(175e9, 12.0e12) == pytest.approx(1.26e25, rel=0.005)


def test_the_unrounded_law_gives_the_tables_column_of_approach_3():
  for params, flops, tokens, approach in cells_of_table_a3():
    if approach == 3:
      flops *= 10 if (params, flops) == MISPRINTED else 1
      best_params, best_tokens, _ = HOFFMANN_2022.optimum(flops)
      assert best_params == pytest.approx(params, rel=0.08)
      assert best_tokens == pytest.approx(tokens, rel=0.11)
  rounded = published.get_law("hoffmann2022_rounded").law
  assert rounded.optimum(1.71e24)[0] < 0.8 * 67e9  # which the printed constants do not


def chinchilla(depth, width, feed_forward, heads, key_width):
  return Model(
    vocab=32_000, width=width, depth=depth, heads=heads, head_width=key_width, feed_forward=feed_forward
  )


@pytest.mark.parametrize("row", TABLE_A4, ids=lambda row: f"{row[0]}M")
def test_chinchillas_ratios_to_six_n_d_come_out_without_embeddings_and_logits(row):
  millions, *shape, ratio = row
  model = chinchilla(*shape)
  layers = conventions.flops_per_token(model, LENGTH, convention="chinchilla_layers")
  assert layers / (6 * millions * 1e6) == pytest.approx(ratio, abs=0.012)
  whole = conventions.flops_per_token(model, LENGTH, convention="chinchilla")
  assert whole / (6 * millions * 1e6) > ratio + 0.012


def test_the_rows_of_table_a4_are_rows_of_table_a9():
  for millions, depth, width, feed_forward, heads, key_width, _ in TABLE_A4:
    near = min(presets.CHINCHILLA, key=lambda one: abs(one[0] - millions))
    assert near[1:] == (width, feed_forward, key_width, heads, depth)


def test_appendix_f_by_hand():
  # s 3, V 7, d 4, k 6, h 1, f 5: the lines of the appendix for one layer, and twice that backward.
  model = Model(vocab=7, width=4, depth=1, heads=1, head_width=6, feed_forward=5)
  layer = 6 * 3 * 4 * 6 + 2 * 3 * 3 * 6 + 3 * 3 * 3 + 2 * 3 * 3 * 6 + 2 * 3 * 6 * 4 + 4 * 3 * 4 * 5
  assert conventions.count_flops(model, 3, convention="chinchilla_layers") == 3 * layer
  whole = layer + 2 * 3 * 7 * 4 + 2 * 3 * 4 * 7
  assert conventions.count_flops(model, 3, convention="chinchilla") == 3 * whole


def test_cross_attention_by_hand():
  # Target 3 looks at itself and at a source of 5; the source's own layer looks at itself.
  model = Model(family="encoder_decoder", vocab=7, width=4, depth=1, heads=1, head_width=6, feed_forward=9)

  def layer(s):
    return 6 * s * 4 * 6 + 4 * s * s * 6 + 3 * s * s + 2 * s * 6 * 4 + 4 * s * 4 * 9

  cross = 2 * 3 * 4 * 6 + 2 * 2 * 5 * 4 * 6 + (4 * 6 + 3) * 3 * 5 + 2 * 3 * 6 * 4
  counted = conventions.count_flops(model, 3, 5, "chinchilla_layers")
  assert counted == 3 * (layer(3) + layer(5) + cross)
  weights = (3 + 5) * (4 * 4 * 6 + 2 * 4 * 9) + (2 * 3 + 2 * 5) * 4 * 6 + 3 * 4 * 7
  assert conventions.count_flops(model, 3, 5, "6nd") == 6 * weights


def test_a_recurrent_model_has_six_n_a_token_whatever_the_length():
  model = Model(family="lstm", vocab=11, width=5, depth=2)
  inner = 2 * 4 * 2 * 5 * 5
  for length in (3, 40):
    assert conventions.flops_per_token(model, length, convention="6nd") == 6 * (inner + 55)
    assert conventions.flops_per_token(model, length, convention="kaplan") == 6 * inner
    assert conventions.flops_per_token(model, length, convention="chinchilla_layers") == 6 * inner
    assert conventions.flops_per_token(model, length, convention="chinchilla") == 6 * (inner + 110)
    assert conventions.flops_per_token(model, length) == 6 * (inner + 55)


def test_kaplans_count_leaves_out_the_head_and_half_of_the_scores():
  model = Model(vocab=50, width=24, depth=3, head_width=8)
  inner = 3 * 12 * 24 * 24
  assert conventions.count_parameters(model, "non_embedding") == inner + 24 * (2 * 3 + 1)  # and norms
  assert conventions.flops_per_token(model, 9, convention="kaplan") == 6 * inner + 6 * 3 * 24 * 9


def test_parameters_with_and_without_tables_and_head():
  untied = Model(vocab=50, width=24, depth=3, head_width=8, head_bias=True)
  tied = dataclasses.replace(untied, tied=True)
  table, bias = 50 * 24, 50
  rest = conventions.count_parameters(untied, "non_embedding")
  assert conventions.count_parameters(tied, "non_embedding") == rest
  assert conventions.count_parameters(untied, "all") == rest + 2 * table + bias
  assert conventions.count_parameters(tied, "all") == rest + table + bias
  assert conventions.count_parameters(untied, "no_embedding") == rest + table + bias
  assert conventions.count_parameters(tied, "no_embedding") == rest + table + bias
  assert conventions.count_parameters(untied, "no_head") == rest + table
  assert conventions.count_parameters(tied, "no_head") == rest + table


@pytest.mark.parametrize("family", FAMILIES)
def test_conventions_of_every_family_are_ordered_as_what_they_count(family):
  source = 21 if family == "encoder_decoder" else 0
  model = Model(family=family, vocab=130, width=24, depth=2, head_width=8)
  found = {name: conventions.count_flops(model, 13, source, name) for name in conventions.FLOPS}
  assert found["kaplan"] < found["exact"] < found["chinchilla"]
  assert found["6nd"] <= found["exact"]
  assert found["exact"] == counts.count_flops(model, 13, source).total
  assert found["chinchilla"] - found["chinchilla_layers"] == pytest.approx(6 * 24 * 130 * (13 + 13 + source))
  sizes = {name: conventions.count_parameters(model, name) for name in conventions.PARAMETERS}
  assert sizes["non_embedding"] < sizes["no_embedding"] < sizes["all"] > sizes["matrices"]


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda m: conventions.count_parameters(m, "non-embedding"), "nearest is 'non_embedding'"),
    (lambda m: conventions.count_flops(m, 8, convention="chinchila"), "nearest is 'chinchilla'"),
    (lambda m: conventions.count_flops(m, 0), "cannot be counted"),
    (lambda m: conventions.count_flops(m, 8, 4), "reads no source"),
    (lambda m: conventions.count_flops(dataclasses.replace(m, family="encoder_decoder"), 8), "has a source"),
  ],
)
def test_mistakes_are_one_sentence(call, words):
  with pytest.raises(UserError, match=words):
    call(Model(vocab=9, width=8, depth=1, head_width=4))
