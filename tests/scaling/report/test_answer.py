"""The answer in one sentence: model, data, budget, and whether to believe it; or why there is none."""

import copy

from gen.scaling.report import answer, view


def said(results, **changes):
  return answer.answer_sentence(view.read_results({**copy.deepcopy(results), **changes}))


def test_the_answer_names_budget_model_data_approach_and_verdict(results):
  text = said(results, verdict={"credible": True, "reasons": []})
  guess = results["prediction"]["parametric"]
  assert text.count(".") >= 1 and text.endswith(".") and "\n" not in text
  for words in ("For 5e13 FLOPs, train a model of", "bytes (approach 3 parametric; 90 % interval of N ["):
    assert words in text
  assert view.read_results(results).predictions["parametric"].values["N"] == guess["N"]


def test_the_verdict_is_part_of_the_answer(results):
  reasons = [
    {"name": name, "passed": name == "valleys", "sentence": "x."} for name in ("valleys", "held_out_loss")
  ]
  refused = said(results, verdict={"credible": False, "reasons": reasons})
  assert refused.startswith(
    "Not credible, 1 of 2 criteria not met (held out loss): the curve would have a model of"
  )
  assert refused.endswith("for 5e13 FLOPs.")
  assert "credible, all 2 criteria are met" in said(results, verdict={"credible": True, "reasons": reasons})
  assert "no verdict was recorded" in said(results, verdict={})


def test_a_size_beyond_those_trained_is_said_and_an_answer_that_lacks_has_its_reason(results):
  far = copy.deepcopy(results["prediction"])
  far["parametric"]["N"] = 1e9
  assert "beyond the sizes trained" in said(results, prediction=far)
  nothing = said(results, prediction={}, laws={name: {"error": "too few runs"} for name in results["laws"]})
  assert nothing == "There is no answer: too few runs."
