import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen import counts
from gen.config import Criteria, Data, Model, Optimizer, Sweep, config_hash
from gen.errors import UserError
from gen.scaling.sweeps import design as sweeps

VOCAB = 259


def study(**changes):
  base = Sweep(
    model=Model(depth=2, head_width=8),
    data=Data(length=64, batch=4),
    optimizer=Optimizer(peak_learning_rate=0.004),
    budgets=(1e9, 3e9),
    widths=((8, 16), (16, 24, 32)),
    batches=(4, 8),
    seeds=(2, 1),
    held_out=9e9,
    held_out_widths=(24, 40),
  )
  return dataclasses.replace(base, **changes)


def test_the_runs_are_budgets_times_sizes_times_seeds_and_the_held_out_ones():
  runs = sweeps.expand_sweep(study(), VOCAB)
  assert sorted(run.name for run in runs) == sorted([
    "C1e9-w8-s0", "C1e9-w8-s1", "C1e9-w16-s0", "C1e9-w16-s1",
    "C3e9-w16-s0", "C3e9-w24-s0", "C3e9-w32-s0", "C9e9-w24-s0", "C9e9-w40-s0",
  ])  # fmt: skip
  assert {run.name for run in runs if sweeps.is_held_out(study(), run)} == {"C9e9-w24-s0", "C9e9-w40-s0"}
  assert {run.flops: run.data.batch for run in runs} == {1e9: 4, 3e9: 8, 9e9: 8}


def test_the_longest_runs_come_first_and_the_results_order_is_another():
  runs = sweeps.expand_sweep(study(), VOCAB)
  assert runs[0].flops == 9e9 and runs[-1].flops == 1e9
  budgets = [run.flops for run in runs]
  assert budgets == sorted(budgets, reverse=True)
  ordered = [(run.flops, run.model.width, run.seed) for run in sweeps.canonical_order(runs)]
  assert ordered == sorted(ordered)


def test_expanding_twice_gives_the_same_hashes_and_no_two_runs_share_one():
  first, second = (sweeps.expand_sweep(study(), VOCAB) for _ in range(2))
  assert [config_hash(run) for run in first] == [config_hash(run) for run in second]
  assert len({config_hash(run) for run in first}) == len(first)


def test_a_larger_study_keeps_the_runs_of_the_smaller_one():
  small = {config_hash(run) for run in sweeps.expand_sweep(study(), VOCAB)}
  grown = study(
    budgets=(1e9, 3e9, 5e9), widths=((8, 16), (16, 24, 32), (24,)), batches=(4, 8, 8), seeds=(3, 2, 1)
  )
  assert small < {config_hash(run) for run in sweeps.expand_sweep(grown, VOCAB)}


def test_each_run_spends_its_budget_by_the_exact_count():
  for run in sweeps.expand_sweep(study(), VOCAB):
    per_token = counts.flops_per_token(dataclasses.replace(run.model, vocab=VOCAB), 64)
    assert sweeps.flops_per_step(run) == pytest.approx(per_token * 64 * run.data.batch)
    assert (run.steps, run.tokens) == (0, 0.0)


def test_the_learning_rate_follows_width_and_steps():
  rule = study(rate_width=16.0, rate_width_power=-0.5, rate_steps=1000.0, rate_steps_power=-0.25)
  runs = {run.name: run for run in sweeps.expand_sweep(rule, VOCAB)}
  for run in runs.values():
    steps = run.flops / sweeps.flops_per_step(run)
    wanted = 0.004 * (run.model.width / 16) ** -0.5 * (steps / 1000) ** -0.25
    assert run.optimizer.peak_learning_rate == pytest.approx(wanted, rel=1e-3)
  plain = sweeps.expand_sweep(study(), VOCAB)
  assert {run.optimizer.peak_learning_rate for run in plain} == {0.004}


def test_depth_may_depend_on_width():
  runs = sweeps.expand_sweep(study(depths=((32, 3), (40, 5))), VOCAB)
  assert {run.model.width: run.model.depth for run in runs} == {8: 2, 16: 2, 24: 2, 32: 3, 40: 5}


def test_runs_share_no_part_that_one_could_change_for_another():
  first, second, *_ = sweeps.expand_sweep(study(), VOCAB)
  first.optimizer.beta1 = 0.5
  assert second.optimizer.beta1 == 0.9


@given(st.floats(1e6, 1e26), st.floats(1e6, 1e26))
def test_different_budgets_have_different_names(one, other):
  if abs(one - other) > 1e-9 * one:
    assert sweeps.name_of(one, 8, 0) != sweeps.name_of(other, 8, 0)
  assert "/" not in sweeps.name_of(one, 8, 0) and "+" not in sweeps.name_of(one, 8, 0)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"budgets": (), "widths": ()}, "no budgets"),
    ({"widths": ((8,),)}, "config.widths 1"),
    ({"batches": (4,)}, "config.batches 1"),
    ({"seeds": (1, 1, 1, 1)}, "config.seeds 4"),
    ({"seeds": (0, 1)}, "config.seeds holds 0"),
    ({"budgets": (-1e9, 3e9)}, "-1e+09"),
    ({"budgets": (1e9, 1e9)}, "twice"),
    ({"budgets": (1e9, float("nan"))}, "nan"),
    ({"held_out": 3e9}, "held_out"),
    ({"held_out": -1.0}, "-1"),
    ({"held_out_widths": ()}, "together"),
    ({"widths": ((8, 8), (16,))}, "twice"),
    ({"widths": ((), (16,))}, "no width"),
    ({"widths": ((9,), (16,))}, "not a multiple"),
    ({"steps": 10}, "config.steps"),
    ({"workers": -1}, "workers"),
    ({"rate_width": 0.0}, "rate_width"),
    ({"depths": ((8, 0),)}, "depths"),
    ({"data": Data(length=0)}, "length"),
  ],
)
def test_a_study_that_cannot_be_is_one_sentence(changes, words):
  with pytest.raises(UserError, match="(?s)" + words.replace("+", r"\+")):
    sweeps.check_sweep(study(**changes))


@pytest.mark.parametrize(
  "bounds", [{"min_steps": 60}, {"max_steps": 90}, {"min_steps": 40, "max_steps": 90}], ids=str
)
def test_batches_are_halved_and_doubled_no_more_than_a_runs_steps_ask_for(bounds):
  least, most = bounds.get("min_steps", 0), bounds.get("max_steps", math.inf)
  plain = {run.name: run for run in sweeps.expand_sweep(study(), VOCAB)}
  found = sweeps.expand_sweep(study(**bounds), VOCAB)
  factors = [run.data.batch / plain[run.name].data.batch for run in found]
  for run, factor in zip(found, factors, strict=True):
    steps = run.flops / sweeps.flops_per_step(run)
    assert math.log2(factor).is_integer()
    assert (steps >= least or run.data.batch == 1) and steps <= most
    assert factor >= 1 or steps / 2 < least
    assert factor <= 1 or 2 * steps > most
  assert any(factor < 1 for factor in factors) == (least > 0)
  assert any(factor > 1 for factor in factors) == (most < math.inf)
  assert 1 in factors


def test_a_trunk_whose_branches_want_different_batches_keeps_the_steps_of_its_shortest():
  sweep = study(trunks=True, min_steps=40, max_steps=80, widths=((8, 16), (8, 16)), batches=())
  sweep.optimizer.schedule = "wsd"
  batches = {(run.model.width, run.seed): set() for run in sweeps.expand_sweep(sweep, VOCAB)}
  for run in sweeps.expand_sweep(sweep, VOCAB):
    batches[run.model.width, run.seed].add(run.data.batch)
    assert run.flops / sweeps.flops_per_step(run) >= 40
  assert all(len(found) == 1 for found in batches.values())


def test_the_learning_rate_goes_with_the_root_of_a_halved_or_doubled_batch():
  sweep = study(min_steps=60, max_steps=120, rate_batch_power=0.5)
  plain = {run.name: run.optimizer.peak_learning_rate for run in sweeps.expand_sweep(study(), VOCAB)}
  for run in sweeps.expand_sweep(sweep, VOCAB):
    wanted = plain[run.name] * (run.data.batch / 4) ** 0.5
    assert run.optimizer.peak_learning_rate == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"min_steps": -1}, "min_steps is -1"),
    ({"max_steps": -2}, "max_steps is -2"),
    ({"min_steps": 50, "max_steps": 99}, "99, less than twice config.min_steps 50"),
  ],
)
def test_updates_that_cannot_be_are_a_mistake(changes, words):
  with pytest.raises(UserError, match=words):
    sweeps.check_sweep(study(**changes))


@pytest.mark.parametrize(
  ("name", "value"), [("confidence", 2.0), ("confidence", 0.0), ("min_r_squared", -1.0)]
)
def test_criteria_that_cannot_be_are_a_mistake_before_the_sweep(name, value):
  with pytest.raises(UserError, match=name):
    sweeps.expand_sweep(study(criteria=Criteria(**{name: value})), VOCAB)


def test_learning_rates_and_seeds_are_axes():
  runs = sweeps.expand_sweep(study(
    learning_rate_multipliers=(0.5, 2.0), budgets=(1e9,), widths=((8,),), batches=(), seeds=(2,), held_out=0,
                             held_out_widths=()), VOCAB)  # fmt: skip
  names = sorted(run.name for run in runs)
  assert names == ["C1e9-w8-r0.5-s0", "C1e9-w8-r0.5-s1", "C1e9-w8-r2-s0", "C1e9-w8-r2-s1"]
  rates = {run.name: run.optimizer.peak_learning_rate for run in runs}
  assert rates["C1e9-w8-r2-s0"] == pytest.approx(4 * rates["C1e9-w8-r0.5-s1"])
  assert len({config_hash(run) for run in runs}) == 4


def steps_of(run):
  return run.flops / sweeps.flops_per_step(run)


def test_a_budget_may_be_tokens_so_that_one_width_at_several_is_a_study_of_fixed_n():
  design = {"batches": (), "seeds": (), "held_out": 16384.0, "held_out_widths": (16,)}
  fixed = study(budget_unit="tokens", budgets=(2048.0, 4096.0), widths=((16,), (16,)), **design)
  runs = sweeps.canonical_order(sweeps.expand_sweep(fixed, VOCAB))
  assert [run.name for run in runs] == ["D2.048e3-w16-s0", "D4.096e3-w16-s0", "D1.6384e4-w16-s0"]
  assert [steps_of(run) for run in runs] == pytest.approx([8, 16, 64])  # rows of 64, four a step
  assert [sweeps.is_held_out(fixed, run) for run in runs] == [False, False, True]


def test_a_budget_may_be_tokens_per_parameter():
  ratio = study(budget_unit="tokens_per_parameter", budgets=(5.0,), widths=((8, 24),), batches=(), seeds=(), held_out=0,
                held_out_widths=())  # fmt: skip
  for run in sweeps.expand_sweep(ratio, VOCAB):
    tokens = steps_of(run) * run.data.batch * 64
    assert tokens / counts.count_matrices(run.model) == pytest.approx(5.0)
    assert run.flops == pytest.approx(tokens * counts.flops_per_token(run.model, 64))


def test_a_budget_may_be_steps_which_no_halved_batch_multiplies():
  short = study(budget_unit="steps", budgets=(40.0,), widths=((8, 40),), batches=(), seeds=(), min_steps=100,
                held_out=0, held_out_widths=())  # fmt: skip
  for run in sweeps.expand_sweep(short, VOCAB):
    assert steps_of(run) == pytest.approx(40) and run.data.batch == 4 and run.name.startswith("S4e1-")


def test_tokens_of_an_encoder_decoder_are_those_of_its_corpus():
  model = Model(family="encoder_decoder", depth=1, head_width=8)
  data = Data(length=64, batch=4, objective="span_corruption")
  spans = study(model=model, data=data, budget_unit="tokens", budgets=(1e5,), widths=((16,),), batches=(), seeds=(),
                held_out=0, held_out_widths=())  # fmt: skip
  (run,) = sweeps.expand_sweep(spans, VOCAB)
  from gen.training import loop

  assert steps_of(run) * 4 * loop.row_length(run).tokens == pytest.approx(1e5)


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"budget_unit": "epochs"}, "config.budget_unit is 'epochs'; it must be one of flops, tokens"),
    ({"learning_rate_multipliers": (1.0, 0.0)}, "config.learning_rate_multipliers holds 0; multiples"),
    ({"learning_rate_multipliers": (2.0, 2.0)}, "with one multiple twice"),
    ({"budget_unit": "tokens", "budgets": (0.0, 1e9)}, "a budget of 0 tokens is not valid"),
  ],
)
def test_an_axis_that_cannot_be_is_refused(changes, sentence):
  with pytest.raises(UserError) as caught:
    sweeps.expand_sweep(study(**changes), VOCAB)
  assert sentence in str(caught.value)
