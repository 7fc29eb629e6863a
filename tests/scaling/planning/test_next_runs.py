"""Which runs to add: the predicted spread is the simulated one, and chosen runs cost less than a grid."""

import math

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law import cost_model
from gen.scaling.laws.loss_law.law import HOFFMANN_2022, ParametricLaw
from gen.scaling.laws.solvers import newton as newton_method
from gen.scaling.planning import next_runs

TRUTH = {"large": HOFFMANN_2022, "small": ParametricLaw(0.9, 120.0, 350.0, 0.36, 0.38)}


def theta_of(law):
  return np.array([math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta])


def grid(law, smallest, budgets=4, sizes=5, step=4.0, span=3.0):
  flops = np.repeat(smallest * step ** np.arange(budgets), sizes)
  params = law.optimum(flops)[0] * np.tile(np.geomspace(1 / span, span, sizes), budgets)
  return params, flops / 6 / params


def log_n(law, params, tokens, noise, random, target):
  """ln N* at the target of a least-squares fit to simulated losses, by Gauss-Newton from the truth."""
  x, y = np.log(params), np.log(tokens)
  shift = np.array([-law.alpha * x.mean(), -law.beta * y.mean(), 0, 0, 0])
  l = np.log(law.loss(params, tokens)) + noise * random.standard_normal(len(x))
  bottom = newton_method.newton_steps(
    theta_of(law) + shift, x - x.mean(), y - y.mean(), l, math.inf, np.eye(5)
  )
  theta = bottom.theta.copy()
  theta[0] += theta[3] * x.mean()
  theta[1] += theta[4] * y.mean()
  return next_runs.log_best_size(theta, target, 6.0), theta


def test_the_slope_of_the_optimum_is_its_finite_difference():
  theta = theta_of(HOFFMANN_2022)
  sizes = np.geomspace(1e7, 1e11, 9)
  falling = cost_model.measured_cost(sizes, sizes, (6 + 3e4 * sizes**-0.45) * sizes**2)
  for cost, target in ((cost_model.constant_cost(6.0), 3e22), (falling, 3e21), (falling, 1e24)):
    slope = next_runs._slope(theta, target, cost)
    for i in range(5):
      step = np.eye(5)[i] * 1e-6
      ends = [next_runs.log_best_size(theta + sign * step, target, cost) for sign in (1, -1)]
      assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", TRUTH)
def test_the_predicted_spread_is_the_spread_of_simulated_fits(name):
  law, noise, target = TRUTH[name], 0.002, 1e21 if name == "large" else 1e17
  params, tokens = grid(law, target / 2000)
  random = np.random.default_rng(3)
  found = [log_n(law, params, tokens, noise, random, target)[0] for _ in range(200)]
  runs = fit.make_runs(
    params, tokens, law.loss(params, tokens) * np.exp(noise * random.standard_normal(len(params)))
  )
  known = next_runs.study_design(runs, theta_of(law), target, 6.0)
  predicted = math.sqrt(known.variance) * noise / known.noise  # of the true scatter, not of one draw's
  assert predicted == pytest.approx(np.std(found), rel=0.2)


def test_one_more_run_is_known_as_if_it_had_been_there():
  law, target = TRUTH["small"], 1e17
  params, tokens = grid(law, 1e14)
  runs = fit.make_runs(
    params, tokens, law.loss(params, tokens) * np.exp(0.01 * np.sin(np.arange(len(params))))
  )
  known = next_runs.study_design(runs, theta_of(law), target, 6.0)
  options = next_runs.candidate_runs(runs, theta_of(law), 6.0)
  pick = 77
  slopes_np = newton_method.evaluate_model(
    theta_of(law), np.log(params), np.log(tokens), np.zeros(len(params))
  ).jacobian_np
  more_np = np.concatenate([slopes_np, options.slopes_mp[pick : pick + 1]])
  covariance_pp = known.noise**2 * np.linalg.inv(more_np.T @ more_np)
  after = known.after(options.slopes_mp[pick])
  assert after.variance == pytest.approx(known.slope_p @ covariance_pp @ known.slope_p, rel=1e-5)
  assert known.gains(options.slopes_mp)[pick] == pytest.approx(known.variance - after.variance, rel=1e-5)


def test_on_a_hundred_studies_chosen_runs_do_what_a_second_grid_does_for_less():
  shares, errors = [], []
  for study in range(100):
    random = np.random.default_rng(study)
    law, target = (TRUTH["large"], 1e22) if study % 2 else (TRUTH["small"], 1e18)
    params, tokens = grid(law, target / random.uniform(1e3, 1e4), 3 + study % 3, 5 + study % 4)
    noise = random.uniform(0.001, 0.004)
    theta = log_n(law, params, tokens, noise, random, target)[1]  # a study knows its own fit alone
    runs = fit.make_runs(
      params, tokens, law.loss(params, tokens) * np.exp(noise * random.standard_normal(len(params)))
    )
    as_twice = math.sqrt(next_runs.study_design(runs, theta, target, 6.0).variance / 2)
    found = next_runs.choose_runs(runs, theta, target, 90, until=as_twice)
    shares.append(found.runs[-1].flops_so_far / runs.flops.sum())
    more_n, more_d = ([getattr(run, name) for run in found.runs] for name in "ND")
    known = next_runs.study_design(runs, theta_of(law), target, 6.0)
    first = math.sqrt(known.variance) * noise / known.noise
    for _ in range(2):
      both = (np.append(params, more_n), np.append(tokens, more_d))
      error = log_n(law, *both, noise, random, target)[0] - math.log(law.optimum(target)[0])
      errors.append(error / first)
  assert np.mean(shares) <= 0.5 and np.max(shares) <= 0.7
  assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(math.sqrt(0.5), rel=0.15)


def test_intervals_shrink_with_every_run_and_start_at_the_studys_own():
  law = TRUTH["small"]
  params, tokens = grid(law, 1e14)
  random = np.random.default_rng(0)
  runs = fit.make_runs(
    params, tokens, law.loss(params, tokens) * np.exp(0.004 * random.standard_normal(len(params)))
  )
  best = law.optimum(1e18)[0]
  found = next_runs.choose_runs(runs, theta_of(law), 1e18, 7, now=(best / 1.5, best * 1.5))
  assert found.now == pytest.approx([best / 1.5, best * 1.5])
  widths = [math.log(run.interval[1] / run.interval[0]) for run in found.runs]
  assert len(widths) == 7 and all(np.diff(widths) < 0) and widths[0] < math.log(1.5**2)
  assert found.runs[-1].flops_so_far == pytest.approx(sum(run.flops for run in found.runs))
  assert max(run.flops for run in found.runs) <= runs.flops.max() * 1.0001
  dear = next_runs.choose_runs(runs, theta_of(law), 1e18, 3, max_flops=1e13)
  assert max(run.flops for run in dear.runs) <= 1e13


@pytest.mark.parametrize(
  ("change", "words"),
  [({"runs": 0}, "--next=0"), ({"flops": -1.0}, "target budget"), ({"max_flops": 0.0}, "max_run")],
)
def test_mistakes_are_one_sentence(change, words):
  law = TRUTH["small"]
  params, tokens = grid(law, 1e14)
  options = {"flops": 1e18, "runs": 2} | change
  runs = fit.make_runs(params, tokens, law.loss(params, tokens))
  with pytest.raises(UserError, match=words):
    next_runs.choose_runs(runs, theta_of(law), options.pop("flops"), options.pop("runs"), **options)
  with pytest.raises(UserError, match="at least 7"):
    next_runs.choose_runs(runs.select(np.arange(6)), theta_of(law), 1e18, 2)
