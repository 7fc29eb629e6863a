"""Errors of functions in Python name arguments and no flags of a command line."""

import re

import pytest

import gen
from gen.io import argument_words

RUNS = {"params": [1e6, 2e6, 3e6], "tokens": [1e8, 2e8, 4e8], "loss": [3.2, 3.1, 3.0]}


@pytest.mark.parametrize(
  "call",
  [
    lambda: gen.plan(),
    lambda: gen.plan(params=1e9, model="gpt-3"),
    lambda: gen.plan(flops=3.0),
    lambda: gen.plan("kaplan2020", flops=1e21, overtrain=(2.0,)),
    lambda: gen.plan(budget="5 h of h1000"),
    lambda: gen.fit(RUNS, cluster="house"),
    lambda: gen.fit(RUNS, cluster="seed"),
    lambda: gen.fit({"model_sizes": [1.0], "tokens": [1.0], "loss": [1.0]}),
    lambda: gen.load("/nowhere"),
  ],
)
def test_no_error_of_the_api_names_a_flag(call):
  with pytest.raises(gen.UserError) as caught:
    call()
  assert not re.search(r"(?<!\.py )--[a-z]", str(caught.value)), str(caught.value)


def test_an_error_keeps_its_type_and_place():
  class OwnError(gen.UserError):
    pass

  @argument_words.names_arguments
  def fails():
    raise OwnError("give --seed")

  with pytest.raises(OwnError, match=r"^give seed$"):
    fails()


def test_results_are_short_in_a_session():
  fitted = gen.fit(
    {"params": [1e7, 2e7, 4e7, 8e7] * 3, "tokens": [1e8] * 4 + [1e9] * 4 + [1e10] * 4,
     "loss": [1.7 + 400 / n**0.34 + 410 / d**0.28 for d in (1e8, 1e9, 1e10) for n in (1e7, 2e7, 4e7, 8e7)]},
    bootstraps=0,
  )  # fmt: skip
  plan = gen.plan(fitted, flops=1e19)
  runs = gen.read_runs(RUNS)
  for result in (fitted, plan, runs):
    assert len(repr(result)) < 200 and "\n" not in repr(result) and "array" not in repr(result)
  assert "alpha" in str(fitted) and "N_coefficient" in str(fitted)
  assert "parameters" in str(plan) and len(str(plan).splitlines()) < 15


def test_a_plan_without_a_device_has_no_intervals_of_hours():
  from gen.scaling.planning import plan

  assert not {"hours", "cost"} & set(plan.make_plan("besiroglu2024", 1e21).interval)


def test_the_doctests_of_wrapped_functions_are_found():
  import doctest

  from gen import api

  named = {test.name for test in doctest.DocTestFinder().find(api) if test.examples}
  assert {"gen.api.plan", "gen.api.count", "gen.api.fit"} <= named
