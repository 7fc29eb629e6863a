"""What laws say of given sizes, data and models, against searches of their own in float64."""

import math

import numpy as np
import pytest
from scipy import optimize

from gen import presets
from gen.errors import UserError
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.planning import law_source, plan, plan_summary, published, published_models, questions

# Constants as the papers print them, once more, and not through the module under test.
SURFACES = {
  "hoffmann2022": (math.exp(0.5267228), math.exp(6.0073404), math.exp(6.0179186), 0.33917084, 0.2849083),
  "hoffmann2022_rounded": (1.69, 406.4, 410.7, 0.34, 0.28),
  "besiroglu2024": (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
  "muennighoff2023": (math.exp(0.6254804), math.exp(6.255414), math.exp(7.3049974), 0.3526596, 0.3526596),
}
LINES = {  # ln N* over ln C: two points of each law
  "kaplan2020": ((8.64e19, 1.3e9), (8.64e22, 1.3e9 * 1000**0.73)),
  "porian2024": ((1e18, 0.119322 * 1e18**0.496777), (1e20, 0.119322 * 1e20**0.496777)),
  "deepseek2024": ((1e18, 0.1715 / 6 * 1e18**0.5243), (1e20, 0.1715 / 6 * 1e20**0.5243)),
}


def loss_of(name, log_n, log_d):
  e, a, b, alpha, beta = SURFACES[name]
  return e + a * math.exp(-alpha * log_n) + b * math.exp(-beta * log_d)


def least(name, flops):
  """Returns (N, D, loss) of least loss by a search over ln N."""
  found = optimize.minimize_scalar(
    lambda x: loss_of(name, x, math.log(flops / 6) - x),
    bounds=(5, 40),
    method="bounded",
    options={"xatol": 1e-10},
  )
  return math.exp(found.x), flops / 6 / math.exp(found.x), found.fun


@pytest.mark.parametrize("flops", [1e19, 5.76e23, 1e26])
def test_each_laws_optimum_is_that_of_a_search(flops):
  rows = {row.law: row for row in plan.make_plan("besiroglu2024", flops).by_law}
  assert set(rows) == set(published.LAWS)
  for name in SURFACES:
    n, d, _ = least(name, flops)
    assert pytest.approx(n, rel=1e-5) == rows[name].N and pytest.approx(d, rel=1e-5) == rows[name].D
  for name, ((c1, n1), (c2, n2)) in LINES.items():
    slope = math.log(n2 / n1) / math.log(c2 / c1)
    assert pytest.approx(n1 * (flops / c1) ** slope, rel=1e-9) == rows[name].N


def test_at_gophers_budget_the_laws_are_as_far_apart_as_their_papers():
  rows = {row.law: row for row in plan.make_plan("hoffmann2022", 5.76e23).by_law}
  ratios = {name: rows[name].tokens_per_parameter for name in rows}
  assert ratios["hoffmann2022"] == pytest.approx(58.9, abs=0.05)
  assert ratios["besiroglu2024"] == pytest.approx(18.4, abs=0.05)
  assert ratios["hoffmann2022_approach1"] == pytest.approx(20.9, abs=0.05)


def test_seventy_billion_parameters_want_1_4_trillion_tokens_by_the_rule():
  found = plan.make_plan("besiroglu2024", params=70e9)
  assert found.rule_of_thumb.D == 1.4e12 and found.rule_of_thumb.flops == pytest.approx(5.88e23)
  assert found.N == 70e9
  for row in found.by_law:
    assert row.N == 70e9
    if row.law in SURFACES:
      n, d, _ = least(row.law, row.flops)
      assert (n, d) == (pytest.approx(70e9, rel=1e-5), pytest.approx(row.D, rel=1e-5))
  text = "\n".join(plan_summary.plan_lines(found))
  assert "1.4 T" in text and "for 70 B parameters" in text and "hoffmann2022_approach1" in text


def test_300_billion_tokens_want_15_billion_parameters_by_the_rule():
  found = plan.make_plan("muennighoff2023", tokens=300e9)
  assert found.rule_of_thumb.N == 15e9 and found.D == 300e9
  assert least("muennighoff2023", found.flops)[1] == pytest.approx(300e9, rel=1e-5)
  assert all(row.D == 300e9 for row in found.by_law)


def test_both_sizes_tell_the_distance_from_the_optimum():
  n, d = 175e9, 300e9
  found = plan.make_plan("besiroglu2024", params=n, tokens=d)
  best_n, best_d, best_loss = least("besiroglu2024", 6 * n * d)
  part = found.distance
  assert part.params_over_optimum == pytest.approx(n / best_n, rel=1e-5)
  assert part.tokens_over_optimum == pytest.approx(d / best_d, rel=1e-5)
  loss = loss_of("besiroglu2024", math.log(n), math.log(d))
  assert part.loss == pytest.approx(loss, rel=1e-12)
  assert part.loss_rise == pytest.approx(loss - best_loss, rel=1e-8)
  equal = optimize.brentq(
    lambda c: least("besiroglu2024", math.exp(c))[2] - loss, math.log(1e21), math.log(1e25)
  )
  assert part.equal_loss_flops == pytest.approx(math.exp(equal), rel=1e-6)
  assert 6 * part.equal_loss_N * part.equal_loss_D == pytest.approx(part.equal_loss_flops)
  assert (found.N, found.flops) == (pytest.approx(best_n, rel=1e-5), 6 * n * d)


def test_a_model_at_the_optimum_is_no_way_from_it():
  n, d, _ = (float(value) for value in published.get_law("besiroglu2024").law.optimum(1e22))
  part = plan.make_plan("besiroglu2024", params=n, tokens=d).distance
  assert part.params_over_optimum == pytest.approx(1) and part.loss_rise == pytest.approx(0, abs=1e-12)
  assert part.equal_loss_share == pytest.approx(1, abs=1e-6) and part.equal_loss_share <= 1


def test_a_budget_beside_one_size_gives_the_other():
  for known in ({"flops": 6e22, "params": 1e10}, {"flops": 6e22, "tokens": 1e12}):
    part = plan.make_plan("hoffmann2022", **known).distance
    assert (pytest.approx(1e10), pytest.approx(1e12)) == (part.N, part.D)


def test_a_law_of_the_optimum_alone_answers_without_losses():
  part = plan.make_plan("kaplan2020", params=7e9, tokens=1e12).distance
  assert part.loss is None and part.params_over_optimum < 1
  assert "does not say" in "\n".join(
    plan_summary.plan_lines(plan.make_plan("kaplan2020", params=7e9, tokens=1e12))
  )


def study(noise=0.003, k=6.0):
  law, random, rows = (
    ParametricLaw(E=1.1, A=150.0, B=400.0, alpha=0.35, beta=0.37, k=k),
    np.random.default_rng(3),
    [],
  )
  for flops in (2e15, 8e15, 3e16, 1e17):
    for n in law.optimum(flops)[0] * np.geomspace(0.3, 3, 6):
      d = flops / k / n
      rows.append((n, d, law.loss(n, d) * math.exp(random.normal(0, noise)), flops))
  return law, fit.make_runs(*np.array(rows).T)


@pytest.mark.parametrize("approach", ["parametric", "isoflop"])
def test_answers_from_runs_have_intervals_that_hold_the_truth(approach):
  law, runs = study(k=7.5)
  known = law_source.source_of_runs(runs, approach, bootstraps=100)
  for asked in ({"params": 3e7}, {"tokens": 2e9}):
    found = plan.make_plan(known, **asked)
    name, value = ("N", 3e7) if "params" in asked else ("D", 2e9)
    other = "D" if name == "N" else "N"
    size = 0 if name == "N" else 1
    grid = np.geomspace(1e12, 1e22, 20_001)
    flops = float(np.exp(np.interp(np.log(value), np.log(law.optimum(grid)[size]), np.log(grid))))
    low, high = found.interval[other]
    assert getattr(found, name) == value and name not in found.interval
    assert low < getattr(found, other) < high and low < law.optimum(flops)[1 - size] < high
    low, high = found.interval["flops"]
    assert low < flops < high
  assert "hours" not in found.interval
  timed = plan.make_plan(known, tokens=2e9, gpu="h100")
  assert timed.interval["hours"][0] < timed.hours < timed.interval["hours"][1]


def test_a_plan_beyond_a_readers_own_runs_says_by_how_much():
  _, runs = study()
  known = law_source.source_of_runs(runs, bootstraps=20)
  assert not any("beyond" in said for said in plan.make_plan(known, 5e16).warnings)
  found = plan.make_plan(known, 3e17)
  assert found.beyond["flops"] == pytest.approx(3)
  said = next(text for text in found.warnings if "beyond your runs" in text)
  assert "3 times their largest budget" in said


def test_a_law_that_contradicts_twenty_tokens_says_why_and_names_the_refit():
  (note,) = plan.make_plan("hoffmann2022", 5.76e23).notes
  assert "58.9 tokens a parameter" in note and "besiroglu2024" in note and "stopped before" in note
  assert plan.make_plan("besiroglu2024", 5.76e23).notes == ()
  assert plan.make_plan("hoffmann2022", params=124e6).notes == ()
  assert published.DEFAULT == "besiroglu2024"


@pytest.mark.parametrize(
  ("name", "params", "tokens"),
  [
    ("gpt-3", 174.6e9, 300e9),
    ("GPT3", 174.6e9, 300e9),
    ("chinchilla", 70e9, 1.4e12),
    ("meta-llama/Meta-Llama-3-8B", 8_030_261_248, 15e12),
    ("EleutherAI/pythia-1.4b", 1_414_647_808, 299_892_736_000),
    ("Gopher", 280e9, 300e9),
  ],
)
def test_a_model_is_found_by_any_spelling(name, params, tokens):
  found = plan.make_plan("besiroglu2024", model=name)
  assert (params, tokens) == (found.distance.N, found.distance.D)
  assert found.question.model.source


def test_every_published_model_has_a_plan_and_its_own_name():
  for name, one in published_models.MODELS.items():
    assert published_models.find_model(name) is one
    assert 1e7 < one.params < 1e12 and (one.tokens is None or 0.3 < one.tokens / one.params < 4e4)
    found = questions.read_question(law_source.make_source("besiroglu2024"), None, None, None, name)
    assert (found.params, found.tokens) == (one.params, one.tokens)
  for alias, name in published_models.ALIASES.items():
    assert published_models.find_model(alias) is published_models.MODELS[name]
    assert alias not in published_models.MODELS


def test_a_preset_has_its_own_count_and_asks_for_tokens():
  found = plan.make_plan("besiroglu2024", model="gpt2")
  assert found.N == 124_439_808 and found.distance is None
  counted = plan.make_plan("kaplan2020", model="gpt2-xl")
  assert questions.conventions.count_parameters(presets.get_model("gpt2-xl"), "non_embedding") == counted.N
  assert plan.make_plan("besiroglu2024", model="gpt2", tokens=1e10).distance.D == 1e10


@pytest.mark.parametrize(
  ("known", "words"),
  [
    ({}, "a budget, a size, data or a model"),
    ({"flops": 1e21, "params": 1e9, "tokens": 1e10}, "leave one out"),
    ({"model": "gtp-3"}, "nearest is 'gpt-3'"),
    ({"model": ""}, "no model"),
    ({"model": "gpt-3", "params": 1e9}, "leave out --params"),
    ({"params": math.nan}, "params is nan"),
    ({"tokens": -1.0}, "tokens is -1"),
    ({"flops": 3640.0}, "not a budget of a training run"),
    ({"flops": 1e300}, "not a budget of a training run"),
  ],
)
def test_what_cannot_be_asked_is_one_sentence(known, words):
  with pytest.raises(UserError, match=words) as caught:
    plan.make_plan("besiroglu2024", **known)
  assert "\n" not in str(caught.value)
