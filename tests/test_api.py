"""The public API, as a user of another project calls it."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import typing

import numpy as np
import pytest

import gen
from gen import api
from gen.scaling.laws.fit import FitOptions


def law_of(params, tokens):
  return 1.7 + 400 / params**0.34 + 410 / tokens**0.28


@pytest.fixture
def columns():
  params, tokens = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 9e7, 2e8], [2e8, 1e9, 7e9]))
  return {"model_size": params, "train_tokens": tokens, "eval_loss": law_of(params, tokens)}


def imported_by(statement):
  program = f"import sys\n{statement}\nprint('jax' in sys.modules, 'numpy' in sys.modules)"
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
  return done.stdout.split()


def test_importing_gen_imports_neither_jax_nor_numpy():
  assert imported_by("import gen; gen.__version__, dir(gen)") == ["False", "False"]


def test_counting_a_preset_imports_no_jax():
  assert imported_by("import gen; gen.count('bert-base'), gen.Model(width=8)")[0] == "False"


def test_every_public_name_is_there_and_every_function_says_its_types():
  for name in gen.__all__:
    assert getattr(gen, name) is not None
  for name in ("audit", "count", "fit", "generate", "load", "plan", "read_runs", "train"):
    function = getattr(gen, name)
    assert "Raises:" in function.__doc__ and "Args:" in function.__doc__, name
    assert {"return"} < set(
      function.__annotations__
    ) and typing.Any not in function.__annotations__.values(), name


def test_a_name_that_is_not_public_is_an_error_that_lists_those_that_are():
  with pytest.raises(AttributeError, match="no attribute 'fits'; its public names are Criteria, Data"):
    _ = gen.fits


@pytest.mark.parametrize("approach", ["parametric", "isoflop"])
def test_a_law_is_fitted_to_columns_of_any_names_and_plans_a_model(columns, approach):
  if approach == "isoflop":
    budgets = np.repeat([1e18, 4e18, 2e19], 5)
    params = np.sqrt(budgets / 120) * np.tile([0.25, 0.5, 1, 2, 4], 3)
    tokens = budgets / 6 / params
    columns = {"N": params, "D": tokens, "loss": law_of(params, tokens), "flops": budgets}
  law = gen.fit(columns, approach, bootstraps=0)
  assert law.a == pytest.approx(0.28 / 0.62, abs=0.01)
  planned = gen.plan(law, flops=1e20)
  assert planned.params * planned.tokens == pytest.approx(1e20 / 6, rel=1e-6)
  assert planned.tokens_per_parameter == pytest.approx(planned.tokens / planned.params, rel=1e-12)
  if approach == "parametric":
    assert planned.loss == pytest.approx(law_of(planned.params, planned.tokens), rel=1e-5)


def test_a_file_gives_the_law_of_its_columns(columns, tmp_path):
  path = tmp_path / "runs.csv"
  rows = zip(*columns.values(), strict=True)
  path.write_text("\n".join([",".join(columns), *(",".join(map(repr, map(float, row))) for row in rows)]))
  assert gen.fit(path, bootstraps=0).a == gen.fit(columns, bootstraps=0).a
  assert gen.plan(path, flops=1e20).params == pytest.approx(
    gen.plan(gen.fit(path), flops=1e20).params, rel=1e-6
  )


def test_a_data_frames_columns_are_read_like_a_dicts(columns):
  class Frame:  # what a DataFrame offers: iteration over names, and columns by name
    def __iter__(self):
      return iter(columns)

    def __getitem__(self, name):
      return columns[name]

  assert len(gen.read_runs(Frame())) == 12


def test_names_that_are_not_recognized_can_be_given(columns):
  odd = {"weights": columns["model_size"], "read": columns["train_tokens"], "score": columns["eval_loss"]}
  with pytest.raises(gen.UserError, match="weights"):
    gen.fit(odd)
  named = gen.fit(odd, columns={"params": "weights", "tokens": "read", "loss": "score"}, bootstraps=0)
  assert named.a == gen.fit(columns, bootstraps=0).a


@pytest.mark.parametrize(
  ("call", "sentence"),
  [
    (lambda: gen.plan(), "a plan needs a budget"),
    (lambda: gen.plan("hoffman2022", flops=1e21), "hoffman2022"),
    (lambda: gen.plan("no/such/file.csv", flops=1e21), "no/such/file.csv"),
    (lambda: gen.plan(pathlib.Path("no/such/file"), flops=1e21), "no/such/file"),
    (lambda: gen.plan(flops=1e21, budget="1e21"), "both given"),
    (lambda: gen.count("gpt5"), "gpt5"),
    (lambda: gen.fit({"params": [1e6], "tokens": [1e8, 2e8], "loss": [3.0]}), "unequal lengths: params 1, tokens 2"),
    (lambda: gen.fit({"params": [1e6], "tokens": [1e8], "loss": [3.0]}, "envelope"), "wants training curves"),
    (lambda: gen.load("no/such/folder"), "no/such/folder"),
  ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(call, sentence):
  with pytest.raises(gen.UserError, match=sentence) as raised:
    call()
  assert "\n" not in str(raised.value)


def test_a_budget_in_words_is_its_flops():
  words, flops = gen.plan(budget="10 PF-days"), gen.plan(flops=8.64e20)
  assert words.params == flops.params and words.intervals == flops.intervals


def test_a_plan_by_size_asks_for_tokens():
  planned = gen.plan("hoffmann2022", params=70e9)
  assert planned.params == 70e9 and planned.tokens == pytest.approx(4.58e12, rel=0.01)


def test_an_audit_grades_runs(columns):
  found = gen.audit(columns, bootstraps=20)
  assert found.grade in "ABCD" and json.dumps(found.as_dict())


def test_the_counts_of_a_preset_are_those_of_its_paper():
  found = gen.count("gpt2")
  assert found.params == 124439808 == sum(found.by_group.values())
  assert found.flops_per_token > found.flops_6n > 6 * 85e6
  assert gen.count("t5-small").flops_per_token > 0


def test_a_run_is_trained_loaded_and_generated_from(tmp_path):
  for number in range(30):
    (tmp_path / f"{number}.txt").write_text(f"text {number} says something about its own number. " * 20)
  run = gen.Run(
    model=gen.Model(width=8, depth=1, head_width=4),
    data=gen.Data(
      corpus=str(tmp_path / "*.txt"), tokenizer="bytes", length=24, batch=2, validation_fraction=0.3,
      validation_tokens=200, cache=str(tmp_path / "cache"),
    ),
    steps=3,
  )  # fmt: skip
  rows = []

  class Hooks:
    def progress(self, row):
      rows.append(row["kind"])

    def stop(self):
      return False

  result = gen.train(run, tmp_path / "run", hooks=Hooks())
  assert result.steps == 3 and "evaluation" in rows
  model = gen.load(tmp_path / "run")
  one = gen.generate(model, "text", max_tokens=4)
  assert isinstance(one, str)
  assert gen.generate(model, ["text", "number"], max_tokens=4)[0] == one


def test_the_keywords_of_a_fit_are_its_options():
  assert set(api.FitKeywords.__annotations__) == {field.name for field in dataclasses.fields(FitOptions)}
