"""The paper model of layouts: its terms by hand, its choices by exhaustion, and where it refuses."""

import itertools

import pytest

from gen.costs import scale_out
from gen.costs.scale_out import CLUSTERS, TrainingJob, fastest_layout, fitting_layouts, step_cost
from gen.errors import UserError
from gen.sharding import state_bytes

H100 = CLUSTERS["h100"]


def test_the_terms_of_a_step_by_hand():
  job, hop = TrainingJob(6e9, 1024 * 2048, 2048), H100.hop
  shape = state_bytes.decoder_shape(6e9)
  found = step_cost(job, H100, fsdp=16, tensor=4, devices=128)
  assert (found.data, found.mesh) == (2, "data=2,fsdp=16,tensor=4")
  assert found.state == pytest.approx(6e9 / 64 * (2 + 2 + 12 / 2))
  flops = 6 * (6e9 + shape.depth * shape.width * 2048) * 1024 * 2048
  assert found.compute == pytest.approx(flops / (128 * 989e12 * 0.6))
  assert found.recompute == pytest.approx(found.compute / 3)
  rows = 1024 / 32
  reduced = 2 * 3 / 4 * 2 * rows * 2048 * shape.width / 450e9 + 2 * hop  # in a machine, between 4
  assert found.tensor_seconds == pytest.approx(4 * shape.depth * reduced)
  weights, depth = 2 * 6e9 / 4, shape.depth  # of one part of tensor
  moved = 3 * (15 / 16 * weights / 50e9 + depth * 4 * hop)  # fsdp, over 4 x 16 devices: between machines
  moved += (2 / 2 + 1 / 2) * weights / 16 / 50e9 + depth * 2 * hop  # data: all-reduced, and gathered
  assert found.traffic_seconds == pytest.approx(moved, rel=1e-9)
  hidden = found.compute + found.recompute
  waited = max(moved - hidden, 0.1 * moved)
  assert found.seconds == pytest.approx(hidden + found.tensor_seconds + waited)


@pytest.mark.parametrize(("devices", "fsdp", "tensor"), [(64, 1, 1), (96, 4, 3), (40, 1, 5)])
def test_replicas_send_what_the_trainer_sends_under_zero1(devices, fsdp, tensor):
  job, free = TrainingJob(7.5e9, 4e6), H100._replace(fast=1e9, slow=1e9, hop=0.0)
  data = devices // fsdp // tensor
  traffic = step_cost(job, free, fsdp, tensor, devices).traffic_seconds
  traffic -= step_cost(job, free, fsdp, tensor, fsdp * tensor).traffic_seconds  # of fsdp alone
  weights = 2 * 7.5e9 / tensor
  planned = state_bytes.step_collectives(weights, weights, "zero1", {"data": data, "fsdp": fsdp})
  assert traffic * 1e9 == pytest.approx(sum(each.bytes for each in planned if each.over == "data"))


def test_a_smaller_network_never_makes_a_step_shorter():
  job = TrainingJob(2e10, 2**21)
  for fsdp, tensor in itertools.product((8, 32), (1, 4)):
    there = [
      step_cost(job, H100._replace(slow=slow), fsdp, tensor, 256).seconds for slow in (50e9, 10e9, 1e9)
    ]
    assert there == sorted(there) and there[-1] > 2 * there[0]


@pytest.mark.parametrize(("parameters", "devices"), [(1e9, 8), (3e10, 64), (7e10, 512), (5e11, 2048)])
def test_the_best_is_the_shortest_step_of_all_that_fit(parameters, devices):
  job = TrainingJob(parameters, 4e6)
  powers = [2**power for power in range(12)]
  tried = []
  for fsdp, tensor, parts in itertools.product(powers, (1, 2, 4, 8), powers):
    if devices % (fsdp * tensor) == 0 and job.rows >= devices // tensor * parts:
      one = step_cost(job, H100, fsdp, tensor, devices, parts)
      tried += [one] if one.memory <= 0.9 * 80e9 else []
  found = fastest_layout(job, H100, devices)
  assert found in tried
  assert found.seconds == pytest.approx(min(one.seconds for one in tried), rel=0.02)
  assert all(one.memory <= 0.9 * 80e9 for one in fitting_layouts(job, H100, devices))


def test_state_is_the_accounts_where_one_stage_says_it_all():
  for fsdp, layout in ((1, "zero1"), (64, "zero3")):
    found = step_cost(TrainingJob(7.5e9, 4e6), H100, fsdp, 1, 64)
    assert found.state == pytest.approx(state_bytes.state_bytes(7.5e9, layout, 64).total)


def test_what_cannot_be_is_said_in_numbers():
  with pytest.raises(UserError, match=r"512 rows per step.*so 4,096 can be used; take more tokens"):
    fastest_layout(TrainingJob(1e9, 2**20), H100, 2**13)
  with pytest.raises(
    UserError, match=r"no layout of 8 devices holds 7e\+10 parameters: .* 140.0 of 80 GB per device"
  ):
    fastest_layout(TrainingJob(7e10, 4e6), H100, 8)
  with pytest.raises(UserError, match="not a multiple of fsdp=3"):
    step_cost(TrainingJob(1e9, 4e6), H100, 3, 1, 8)


def test_efficiency_falls_when_devices_run_out_of_rows():
  shares = [
    scale_out.useful_share(fastest_layout(TrainingJob(7e10, 4e6), H100, 2**power)) for power in (7, 10, 13)
  ]
  assert shares == sorted(shares, reverse=True) and shares[-1] < 0.6 * shares[0]
