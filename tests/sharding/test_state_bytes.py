"""The account of state is that of ZeRO's paper and of the course notes."""

import pytest

from gen.errors import UserError
from gen.sharding import state_bytes

# Table 1 of arXiv:1910.02054, GB: devices, then stages 1 to 3 for each of 7.5 B, 128 B and 1 T parameters.
TABLE = [
  (1, (120, 120, 120), (2048, 2048, 2048), (16000, 16000, 16000)),
  (4, (52.5, 41.3, 30), (896, 704, 512), (7000, 5500, 4000)),
  (16, (35.6, 21.6, 7.5), (608, 368, 128), (4750, 2875, 1000)),
  (64, (31.4, 16.6, 1.88), (536, 284, 32), (4187, 2218, 250)),
  (256, (30.4, 15.4, 0.47), (518, 263, 8), (4046, 2054, 62.5)),
  (1024, (30.1, 15.1, 0.12), (513, 257, 2), (4011, 2013, 15.6)),
]


@pytest.mark.parametrize(("devices", *"abc"), TABLE)
def test_the_papers_table_comes_out_within_a_hundredth(devices, a, b, c):
  for parameters, expected in zip((7.5e9, 128e9, 1e12), (a, b, c), strict=True):
    for layout, gigabytes in zip(("zero1", "zero2", "zero3"), expected, strict=True):
      found = state_bytes.state_bytes(parameters, layout, devices).total / 1e9
      assert found == pytest.approx(
        gigabytes, rel=0.01, abs=0.005
      )  # the table has two digits after the point


def test_data_parallel_state_does_not_shrink_with_devices():
  assert {state_bytes.state_bytes(7.5e9, "ddp", devices).total / 1e9 for devices in (1, 8, 1024)} == {120.0}


def test_sixteen_bytes_a_parameter_in_either_precision():
  mixed, plain = state_bytes.PRECISIONS["mixed"], state_bytes.PRECISIONS["float32"]
  assert mixed.total == plain.total == 16
  assert mixed == (2, 2, 8, 4) and plain == (4, 4, 8, 0)
  assert state_bytes.state_bytes(1, "zero1", 10).master_copies == 0.4  # they go with the moments


def test_the_rule_of_thumb_is_six_times_the_weights():
  assert state_bytes.rule_of_thumb(1e9) == 24e9 == 6 * 4e9
  assert sum(state_bytes.RULE_OF_THUMB.values()) - state_bytes.RULE_OF_THUMB["weights"] == 20


def by_hand(parts, size):
  """Returns the bytes that one device sends to gather what `parts` devices hold, passing it on round a ring."""
  return sum(size / parts for _ in range(parts - 1))


def test_a_ring_sends_every_part_to_each_of_the_others():
  assert state_bytes.ring_bytes("all-gather", 24.0, 4) == by_hand(4, 24.0)
  assert state_bytes.ring_bytes("all-reduce", 24.0, 4) == 2 * by_hand(4, 24.0)
  assert state_bytes.ring_bytes("all-reduce", 24.0, 1) == 0


def test_stages_move_what_the_paper_says():
  def total(layout, **sizes):
    return sum(move.bytes for move in state_bytes.step_collectives(1e6, 1e6, layout, sizes))

  large = 10**6  # devices: (n - 1) / n is 1
  assert total("ddp", data=large) == pytest.approx(2e6)  # 2 Psi, section 7 of the paper
  assert total("zero2", data=large) == pytest.approx(2e6)
  assert total("zero3", data=large) == pytest.approx(3e6)
  assert total("ddp", fsdp=large) == total("zero3", data=large)
  assert total("ddp", data=1) == 0


@pytest.mark.parametrize(
  ("values", "words"),
  [
    ((1e9, "zero4", 8), "layout is 'zero4'"),
    ((1e9, "ddp", 0), "devices is 0"),
    ((0.0, "ddp", 1), "params is 0.0"),
    ((float("nan"), "ddp", 1), "params is nan"),
    ((1e9, "ddp", 1, "int8"), "precision is 'int8'; it must be one of float32, mixed"),
  ],
)
def test_what_cannot_be_is_said(values, words):
  with pytest.raises(UserError, match=words):
    state_bytes.state_bytes(*values)
