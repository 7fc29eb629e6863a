"""Numbers as tables have them: decimal commas, thousands in every writing, and units in the names of columns."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.runs import run_columns, runs_table, table_numbers, units

RUNS = [(39_158_829, 4_256_170_859, 3.0471, 1e18), (412_003_000, 7_045_000_120, 2.5, 3e18)]
RUNS.append((1_030_500_000, 939_158_000, 2.861, 1e19))


def comma(value, places):
  return f"{value:.{places}f}".replace(".", ",")


def grouped(value, mark):
  return f"{value:,}".replace(",", mark)


def read(tmp_path, lines, **columns):
  (tmp_path / "mine.txt").write_text("\n".join(lines), encoding="utf-8")
  return runs_table.read_described(tmp_path / "mine.txt", columns)


def assert_runs(runs, rel=1e-9):
  for found, wanted in zip((runs.params, runs.tokens, runs.loss), np.array(RUNS).T, strict=False):
    np.testing.assert_allclose(found, wanted, rtol=rel)


@pytest.mark.parametrize("mark", [".", " ", "\u00a0", "\u202f", "'", "\u2019"])
def test_thousands_and_decimal_commas_between_semicolons(tmp_path, mark):
  rows = [f"{grouped(n, mark)};{grouped(d, mark)};{comma(l, 4)}" for n, d, l, _ in RUNS]
  assert_runs(read(tmp_path, ["params;tokens;loss", *rows])[0])


@pytest.mark.parametrize("between", [",", "\t", ";", "|"])
def test_quoted_thousands_of_a_table_with_decimal_points(tmp_path, between):
  rows = [between.join((f'"{n:,}"', f'"{d:,}"', f"{l:.4f}")) for n, d, l, _ in RUNS]
  assert_runs(read(tmp_path, [between.join(("params", "tokens", "loss")), *rows])[0])


@pytest.mark.parametrize("between", ["\t", ";", "|"])
def test_decimal_commas_with_three_places_are_no_thousands(tmp_path, between):
  rows = [between.join((comma(n / 1e6, 3), comma(d / 1e9, 3), comma(l, 3))) for n, d, l, _ in RUNS]
  head = between.join(("N [M]", "tokens (in billions)", "val_loss"))
  runs, said = read(tmp_path, [head, *rows])
  assert_runs(runs, 1e-3)
  assert said[-2:] == [
    "'N [M]' is read in units of 1e+06, as its name says",
    "'tokens (in billions)' is read in units of 1e+09, as its name says",
  ]


def test_a_loss_of_thousands_is_a_decimal_comma(tmp_path):
  runs, _ = read(tmp_path, ["params\ttokens\tloss", *(f"{n}\t{d}\t{comma(l, 3)}" for n, d, l, _ in RUNS)])
  assert_runs(runs, 1e-4)


def test_a_point_in_a_german_table_separates_thousands(tmp_path):
  rows = [f"{grouped(n // 1000, '.')};{grouped(d // 1000, '.')};{comma(l, 2)}" for n, d, l, _ in RUNS[:1]]
  rows.append("939.158;412.003;2,81")
  runs, _ = read(tmp_path, ["params;tokens;loss", *rows])
  assert runs.params.tolist() == [39_158, 939_158] and runs.tokens.tolist() == [4_256_170, 412_003]


@pytest.mark.parametrize(
  ("head", "sizes"),
  [
    ("Model Size (M),Train Tokens (B),loss,compute_pfdays", (1e6, 1e9, 8.64e19)),
    ("params_millions,tokens_billions,loss,C [exaFLOPs]", (1e6, 1e9, 1e18)),
    ("N/1e6,D/1e9,loss,FLOPs (1e18)", (1e6, 1e9, 1e18)),
    ("n_params (bn),tokens_t,loss,ZFLOPs", (1e9, 1e12, 1e21)),
    ("params (total),tokens (seen),loss (nats),flops (total)", (1.0, 1.0, 1.0)),
  ],
)
def test_units_in_the_names_of_columns_are_read_and_said(tmp_path, head, sizes):
  rows = [f"{n / sizes[0]!r},{d / sizes[1]!r},{l},{c / sizes[2]!r}" for n, d, l, c in RUNS]
  runs, said = read(tmp_path, [head, *rows])
  assert_runs(runs)
  np.testing.assert_allclose(runs.flops, [c for *_, c in RUNS], rtol=1e-9)
  assert sum("in units of" in text for text in said) == sum(size != 1 for size in sizes)


def test_a_unit_counts_once(tmp_path):
  head = "params_m,tokens_b,loss"
  lettered, _ = read(tmp_path, [head, *(f"{n / 1e6!r}M,{d / 1e9!r}B,{l}" for n, d, l, _ in RUNS)])
  assert_runs(lettered)
  ones, _ = read(tmp_path, [head, *(f"{n},{d},{l}" for n, d, l, _ in RUNS)])
  assert_runs(ones)
  rows = [f"{n / 1e6!r},{d / 1e9!r},{l}" for n, d, l, _ in RUNS]
  runs, _ = read(tmp_path, [head, *rows])
  for sizes in ((1e6, 1e9), (None, 1e9), (1e6, None)):
    with pytest.raises(UserError, match="gives counts of ones already"):
      units.convert_runs(runs, "mine.csv", *sizes)
  # A column that the user names has the unit that the user gives.
  chosen, said = read(tmp_path, [head, *rows], params="params_m", tokens="tokens_b")
  assert_runs(units.convert_runs(chosen, "mine.csv", 1e6, 1e9))
  assert not any("in units of" in text for text in said)


def test_names_in_a_comment_above_the_numbers_are_the_head(tmp_path):
  rows = [f"{n:.9e}, {d:.9e}, {l}" for n, d, l, _ in RUNS]
  assert_runs(read(tmp_path, ["# made by hand", "# N, D, L", *rows])[0])
  assert_runs(read(tmp_path, ['"#Params",tokens,loss', *rows])[0])
  for above in ([], ["# made by hand"]):
    with pytest.raises(UserError, match="no names of columns") as caught:
      read(tmp_path, [*above, *rows])
    assert "\n" not in str(caught.value)


def test_a_column_of_both_marks_is_a_mistake_with_its_line(tmp_path):
  with pytest.raises(UserError, match=r"params in row 2 \(line 3\) is not a number: '1,2,3'"):
    read(tmp_path, ["params;tokens;loss", "1,5;2,5;3,5", "1,2,3;2,5;3,5"])


def test_a_random_table_is_read_as_it_was_written(tmp_path):
  random = np.random.default_rng(5)
  for _ in range(60):
    decimal = random.choice([",", "."])
    between = random.choice([";", "\t", "|"])
    mark = random.choice([{",": ".", ".": ","}[decimal], " ", "'", ""])
    values = np.exp(random.uniform(np.log(2e6), np.log(3e11), (5, 2))).astype(np.int64)
    losses = random.uniform(1.6, 9.9, 5).round(4)
    losses[0] = 2.7183  # four places prove the decimal mark
    rows = [
      between.join(
        [f"{n:,}".replace(",", mark), f"{d:,}".replace(",", mark), f"{l:.4f}".replace(".", decimal)]
      )
      for (n, d), l in zip(values.tolist(), losses, strict=True)
    ]
    runs, _ = read(tmp_path, [between.join(("params", "tokens", "loss")), *rows])
    assert np.array_equal(np.stack([runs.params, runs.tokens], 1), values), rows
    assert np.array_equal(runs.loss, losses), rows


def test_plain_names_keep_their_meaning():
  for name in ("params", "tokens", "loss", "flops", "num_params", "train_tokens", "eval/loss"):
    for kind in ("params", "tokens", "loss", "flops"):
      assert run_columns.split_unit(kind, name)[1] == 1
  assert table_numbers.uses_decimal_commas([["1,234,567"], ["3.05"]], True) is False
