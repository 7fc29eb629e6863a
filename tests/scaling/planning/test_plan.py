"""Plans: published laws come out as their papers have them, intervals hold the estimate, mistakes are one sentence."""

import dataclasses
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from gen import presets
from gen.config import Model
from gen.errors import UserError
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law.law import HOFFMANN_2022, ParametricLaw
from gen.scaling.planning import budgets, law_source, model_shapes, plan, plan_summary, published
from gen.scaling.runs import conventions, study_shapes

LAW = ParametricLaw(E=0.9, A=120.0, B=350.0, alpha=0.36, beta=0.38)


def study(noise=0.004, budgets=(1e15, 4e15, 1.6e16, 6e16), sizes=6, seed=0):
  random, rows = np.random.default_rng(seed), []
  for flops in budgets:
    for n in LAW.optimum(flops)[0] * np.geomspace(0.3, 3, sizes):
      loss = LAW.loss(n, flops / 6 / n) * math.exp(random.normal(0, noise))
      rows.append((n, flops / 6 / n, loss, flops))
  return fit.make_runs(*np.array(rows).T)


@pytest.mark.parametrize(
  ("name", "flops", "params", "within"),
  [
    ("hoffmann2022", 5.76e23, 40e9, 0.02),  # figure 4 of Hoffmann et al. 2022
    ("chinchilla", 1.71e24, 67e9, 0.02),  # its table A3
    ("hoffmann2022_rounded", 5.76e23, 32e9, 0.02),
    ("hoffmann2022_approach1", 5.76e23, 67e9, 0.03),
    ("hoffmann2022_approach2", 5.76e23, 63e9, 0.03),  # its table A3
    ("besiroglu2024", 5.76e23, 70e9, 0.05),  # "consistent with 20 tokens a parameter"
    ("kaplan2020", 8.64e19, 1.3e9, 1e-6),
    ("porian2024", 1e18, 1.04e8, 0.02),
  ],
)
def test_published_laws_give_their_papers_sizes(name, flops, params, within):
  assert pytest.approx(params, rel=within) == plan.make_plan(name, flops).N


def test_every_published_law_has_a_plan():
  for name, one in published.LAWS.items():
    found = plan.make_plan(name, 1e21)
    assert found.law.source == one.source and "arXiv" in one.source
    assert pytest.approx(1e21) == 6 * found.N * found.D
    assert found.interval == {} and len(found.table) == 10
    assert plan_summary.plan_lines(found)


def test_time_and_cost_of_a_cluster():
  found = plan.make_plan("hoffmann2022", 64 * 72 * 3600 * 989e12 * 0.4, count=64, price_per_hour=2.5)
  assert found.hours == pytest.approx(72) and found.cost == pytest.approx(64 * 72 * 2.5)
  row = found.table[6]
  assert row.hours == pytest.approx(72) and pytest.approx(found.N) == row.N
  assert "11,520" in "\n".join(plan_summary.plan_lines(found))


@pytest.mark.slow
def test_a_fitted_law_has_intervals_that_hold_the_estimate_and_the_truth():
  found = plan.make_plan(
    fit.fit_parametric(study(), bootstraps=200),
    1e18,
    inference_tokens=1e11,
    unique_tokens=1e9,
    overtrain=[2.0],
  )
  assert set(found.interval) == {"N", "D", "tokens_per_parameter", "loss"}
  for name, truth in zip(("N", "D", "loss"), LAW.optimum(1e18), strict=True):
    low, high = found.interval[name]
    assert low < getattr(found, name) < high and low < truth < high
  for part in (found.inference, found.repetition, *found.overtrain):
    low, high = part.interval["D"]
    assert low < part.D < high
  wide = plan.make_plan(fit.fit_parametric(study(0.02), bootstraps=200), 1e18).interval["N"]
  assert wide[1] / wide[0] > found.interval["N"][1] / found.interval["N"][0]


def test_approach_2_plans_without_a_surface():
  known = law_source.make_source(fit.fit_isoflop(study(), bootstraps=100))
  found = plan.make_plan(known, 1e18)
  assert pytest.approx(float(LAW.optimum(1e18)[0]), rel=0.2) == found.N
  low, high = found.interval["tokens_per_parameter"]
  assert low < found.tokens_per_parameter < high
  for option in ({"inference_tokens": 1e9}, {"unique_tokens": 1e9}, {"overtrain": [2.0]}):
    with pytest.raises(UserError, match="needs losses at other sizes"):
      plan.make_plan(known, 1e18, **option)


def test_files_give_the_law_of_their_runs_or_constants(tmp_path):
  runs = study()
  lines = [
    "N,tokens,loss",
    *(f"{n},{d},{l}" for n, d, l in zip(runs.params, runs.tokens, runs.loss, strict=True)),
  ]
  (tmp_path / "runs.csv").write_text("\n".join(lines))
  known = law_source.read_source(tmp_path / "runs.csv", columns={"params": "N"}, bootstraps=20)
  law = fit.fit_parametric(runs, bootstraps=0).law
  assert pytest.approx(float(law.optimum(1e18)[0]), rel=1e-6) == plan.make_plan(known, 1e18).N
  assert known.largest == pytest.approx(6e16)
  (tmp_path / "law.json").write_text('{"E": 0.9, "A": 120, "B": 350, "alpha": 0.36, "beta": 0.38, "k": 6}')
  constants = plan.make_plan(law_source.read_source(tmp_path / "law.json"), 1e18)
  assert pytest.approx(float(LAW.optimum(1e18)[0])) == constants.N and constants.interval == {}
  (tmp_path / "line.json").write_text('{"a": 0.5, "N_coefficient": 0.1}')
  assert pytest.approx(1e8) == plan.make_plan(law_source.read_source(tmp_path / "line.json"), 1e18).N


FORMS = {
  "commas": lambda rows: "\n".join(",".join(map(str, row)) for row in [rows[0], *map(dict.values, rows)]),
  "tabs": lambda rows: "\n".join("\t".join(map(str, row)) for row in [rows[0], *map(dict.values, rows)]),
  "lines": lambda rows: "\n".join(map(json.dumps, rows)),
  "array": lambda rows: json.dumps(rows),
  "results": lambda rows: json.dumps({"points": rows}, indent=1),
}


@pytest.mark.parametrize(
  ("name", "form"),
  [
    ("law.json", "commas"),
    ("law.csv.gz", "tabs"),
    ("law", "lines"),
    ("law.csv", "array"),
    ("law.jsonl", "results"),
    ("law.tsv.gz", "results"),
  ],
)
def test_the_content_of_a_file_decides_what_law_it_holds(tmp_path, name, form):
  runs = study()
  wanted = fit.fit_isoflop(runs, bootstraps=0).predict(1e18).N
  rows = [
    {"n_params": n, "train_tokens": d, "val_loss": l, "compute": c}
    for n, d, l, c in zip(runs.params, runs.tokens, runs.loss, runs.flops, strict=True)
  ]
  text = FORMS[form](rows).encode()
  (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
  found = law_source.read_source(tmp_path / name, "isoflop", bootstraps=0)
  assert pytest.approx(wanted, rel=1e-9) == found.optimum(1e18).N
  assert found.columns[0] == "'n_params' is taken for N" and len(found.runs) == 24


@pytest.mark.parametrize("name", ["law.json", "law.csv", "law.jsonl", "law"])
@pytest.mark.parametrize("gap", ["", "\n"])
def test_constants_of_a_law_are_read_from_a_file_of_any_name(tmp_path, name, gap):
  content = f'{{"E": 0.9, "A": 120, "B": 350,{gap} "alpha": 0.36, "beta": 0.38}}\n'
  (tmp_path / name).write_bytes(gzip.compress(content.encode()))
  found = law_source.read_source(tmp_path / name).optimum(1e18).N
  assert found == pytest.approx(float(LAW.optimum(1e18)[0]))


@pytest.mark.parametrize("name", ["mine.csv", "mine.json", "mine.jsonl", "mine"])
@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"dear reader\nthese are words\n", "neither runs nor results"),
    (b"", "is empty|no finished runs"),
    (b"42", "neither runs nor results"),
    (b'{"weight": 3}', "neither runs"),
    (b"PK\x03\x04\xff\xfe", "a zip archive"),
    (b"PAR1\x15\x04\xff", "a Parquet table"),
    (b"\xff\xd8\xff\xe0photo", "invalid UTF-8"),
  ],
)
def test_a_file_that_is_neither_runs_nor_results_is_one_sentence(tmp_path, name, content, words):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=words) as caught:
    law_source.read_source(tmp_path / name)
  assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_shape_comes_near_in_every_family():
  for family in model_shapes.preset_families():
    for params in (2e7, 3e8, 9e9):
      found = model_shapes.nearest_shape(params, family)
      assert found.model.width % found.model.head_width == 0 or family in ("t5", "t5-v1.1", "chinchilla")
      if family not in ("bloom", "gemma", "olmo2") or params > 1e8:  # whose vocabularies alone are larger
        assert found.params == pytest.approx(params, rel=0.12), (family, params)
      assert found.params == conventions.count_parameters(found.model, "matrices")


def test_a_study_plans_shapes_of_its_own_kind_and_vocabulary(tmp_path):
  path = Path(__file__).parents[3] / "results" / "chinchilla" / "results.json"
  models = study_shapes.read_shapes(path)
  assert {model.vocab for model in models.values()} == {260} and len(models) > 40
  for params in (2e4, 1.3e5, 4e5):
    found = model_shapes.nearest_shape(params, study=models)
    assert found.model.vocab == 260 and found.of == "the study" and not found.fault
    assert found.params == pytest.approx(params, rel=0.15)
  known = dataclasses.replace(law_source.make_source(LAW), models=models, runs=study())
  assert plan.make_plan(known, 1e14).shape.vocab == 260
  assert plan.make_plan(known, 1e21).shape.of == "presets" and plan.make_plan(known, 1e21).shape.vocab == 260


def test_a_head_of_a_foreign_vocabulary_is_not_proposed_for_a_small_model():
  found = plan.make_plan(LAW, 8e12)
  assert found.shape.fault and any("--vocab" in said for said in found.warnings)
  assert "scaled to N" not in "\n".join(plan_summary.plan_lines(found))
  small = plan.make_plan(LAW, 8e12, vocab=256)
  assert not small.shape.fault and small.shape.width >= 24 and small.shape.depth >= 2
  assert "vocabulary 256" in "\n".join(plan_summary.plan_lines(small))


def test_time_of_this_machine_is_said_where_it_says_something():
  assert "of this machine" in "\n".join(plan_summary.plan_lines(plan.make_plan(LAW, 1e13)))
  assert "of this machine" not in "\n".join(plan_summary.plan_lines(plan.make_plan("besiroglu2024", 5.76e23)))


@pytest.mark.parametrize(
  ("options", "timed", "priced"),
  [
    ({}, False, False),
    ({"gpu": "a100"}, True, False),
    ({"count": 8}, True, False),
    ({"utilization": 0.3}, True, False),
    ({"price_per_hour": 2.0}, True, True),
  ],
)
def test_times_and_costs_are_shown_for_devices_that_were_given(options, timed, priced):
  found = plan.make_plan("besiroglu2024", 3e22, **options)
  text = "\n".join(plan_summary.plan_lines(found))
  assert found.budget.device_given == timed
  assert ("time  " in text, "-hours" in text) == (timed, timed)
  assert ("no device is given" in text) == (not timed)
  assert any(word in text for word in (" years", " days", " h\n")) == timed
  assert ("cost" in text) == priced


def test_a_budget_of_this_machine_is_timed_on_it():
  budget = budgets.parse_words("30 min of this machine")
  assert (budget.device, budget.device_given, budget.hours) == ("this machine", True, 0.5)
  found = plan.make_plan(LAW, budget.flops, gpu=budget.device, utilization=budget.utilization)
  text = "\n".join(plan_summary.plan_lines(found))
  assert found.hours == pytest.approx(0.5) and "30.0 min of this machine" in text and "h100" not in text
  assert budgets.parse_words("30 min of this machine", device="a100").device == "a100"


def test_the_nearest_preset_is_the_nearest_in_logarithms():
  assert model_shapes.nearest_shape(120e6, "gpt2", "all").preset == "gpt2"
  assert model_shapes.nearest_shape(600e6, "gpt2", "all").preset == "gpt2-large"
  exact = model_shapes.nearest_shape(
    conventions.count_parameters(presets.get_model("gpt2-xl"), "all"), "gpt2", "all"
  )
  assert exact.preset == "gpt2-xl" and isinstance(exact.model, Model)
  assert exact.params == exact.preset_params


def test_what_the_law_cannot_carry_is_warned_of():
  said = " ".join(plan.make_plan("hoffmann2022", 1e26, unique_tokens=1e10, overtrain=[50]).warnings)
  for words in ("times the largest budget", "epochs", "50 times smaller never reaches"):
    assert words in said
  assert "far below" in plan.make_plan("besiroglu2024", 1e13).warnings[0]
  assert any("of decoders" in said for said in plan.make_plan("besiroglu2024", model="bert-base").warnings)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: plan.make_plan("hofman2022", 1e21), "nearest is 'hoffmann2022'"),
    (lambda: plan.make_plan("hoffmann2022", 0), "above zero"),
    (lambda: plan.make_plan("hoffmann2022", math.nan), "finite"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, gpu="h1000"), "nearest is 'h100'"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, utilization=1.5), "utilization is 1.5"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, count=0), "count is 0"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, price_per_hour=-1), "price_per_hour"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, family="gtp2"), "nearest is 'gpt2'"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, inference_tokens=-1), "inference_tokens is -1"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, unique_tokens=0), "unique_tokens is 0"),
    (lambda: plan.make_plan("hoffmann2022", 1e21, overtrain=[0]), "overtrain is 0"),
    (lambda: plan.make_plan("kaplan2020", 1e21, overtrain=[2]), "hoffmann2022"),
    (lambda: plan.make_plan(ParametricLaw(1, 1, 1, -0.1, 0.3), 1e21), "alpha of the law is -0.1"),
    (lambda: plan.make_plan(ParametricLaw(1, 1e99, 1, 3, 0.3), 1e21), "which no model has"),
    (lambda: plan.make_plan(ParametricLaw(1, 1e99, 1, 3, 0.3), params=1e9), "not optimal at any budget"),
  ],
)
def test_mistakes_are_one_sentence(call, words):
  with pytest.raises(UserError, match=words) as caught:
    call()
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("{", "is not valid JSON"),
    ("[" * 100_000, "nested too deeply"),
    ("", "is empty"),
    ('{"E": 1, "A": 1e400, "B": 1, "alpha": 0.3, "beta": 0.3}', "A of the law is 1e\\+308"),
    ('{"E": 1, "A": 4, "B": 9, "alpha": NaN, "beta": 0.3}', "alpha of the law is nan"),
    ('{"E": 1, "A": 4, "B": 9, "alpha": 0.3, "beta": 1000000}', "beta of the law is 1e\\+06"),
    ('{"a": -0.5, "N_coefficient": 1}', "a of the law is -0.5"),
    ('{"a": 0.5, "N_coefficient": 0}', "N_coefficient of the law is 0"),
    ("[]", "no list of points|neither runs|holds no finished runs"),
    ('{"alpha": 1}', "neither runs"),
    ('{"E": 1, "A": "x", "B": 1, "alpha": 1, "beta": 1}', "A holds text"),
    ('{"N_coefficient": 1}', "no a"),
  ],
)
def test_a_file_that_holds_no_law_is_said(tmp_path, text, words):
  (tmp_path / "law.json").write_text(text)
  with pytest.raises(UserError, match=words):
    law_source.read_source(tmp_path / "law.json")


def test_names_of_laws_are_read_in_any_case():
  assert published.get_law("Hoffmann2022").law is HOFFMANN_2022
