"""On eight simulated devices every layout learns what one device learns, holds its share, and hands it on."""

import json

import pytest

from tests import programs

pytestmark = pytest.mark.process

PROGRAM = "tests.sharding.eight_devices"
# A few pairs. All 36, in four minutes: python -m tests.sharding.eight_devices losses decoder encoder encoder_decoder
# rnn lstm gru
TRIED = {
  "decoder": ("zero2", "all three"),
  "encoder_decoder": ("zero3",),
  "lstm": ("all three",),
  "decoder@muon": ("zero3",),
  "decoder@adafactor": ("zero3",),
  "decoder@lion": ("zero3",),
  "decoder@sgd": ("zero3",),
  "decoder@adamw+groups": ("all three",),
}
PAIRS = [(family, layout) for family, layouts in TRIED.items() for layout in layouts]


def output(*words):
  done = programs.run(["-m", PROGRAM, *words])
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found():
  return output("losses", *(f"{family}:{','.join(layouts)}" for family, layouts in TRIED.items()))


@pytest.mark.parametrize(("family", "layout"), PAIRS)
def test_every_layout_follows_the_losses_of_one_device(found, family, layout):
  alone, here = found[family]["alone"]["losses"], found[family][layout]["losses"]
  assert len(here) == 20 and alone[-1] < alone[0] - 0.02  # it learns
  assert here == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(("family", "layout"), PAIRS)
def test_a_device_holds_its_share_of_parameters_and_moments(found, family, layout):
  parameters, moments = (
    whole / mine for mine, whole in (found[family][layout][x] for x in ("params", "moments"))
  )
  if layout == "zero2":
    assert parameters == 1
  if layout in ("zero2", "zero3"):
    # But for counts of steps, Muon's three coefficients, and Adafactor's placeholders of vectors, which are whole.
    assert moments == pytest.approx(8, rel=5e-2 if "@" in family else 2e-3)
  if layout == "zero3":
    assert parameters == 8
  if layout == "all three":
    assert parameters < moments and parameters > 2


@pytest.mark.parametrize(("family", "layout"), PAIRS)
def test_the_predicted_state_is_that_of_the_live_arrays_to_the_byte(found, family, layout):
  here = found[family][layout]
  assert here["predicted"]["live"] == here["live"]
  # The compiler's arguments are the state, the batch, and the schedule's few numbers. jax 0.12 leaves out what a step
  # does not read: of a recurrent model's batch the positions, one of five arrays of equal size.
  unread = here["predicted"]["batch"] // 5 if family == "lstm" else 0
  extra = here["arguments"] - here["live"] - here["predicted"]["batch"]
  assert extra in range(64) or extra + unread in range(64)


def test_gradients_of_microbatches_are_added_up_in_parts_under_zero_2(found):
  carried = found["decoder"]["zero2"]["accumulated"]
  assert "f32[2,2,24]" in carried and carried.count("f32[2,16,24]") <= 1  # which is the parameter itself


def test_a_run_goes_on_from_its_checkpoints_in_any_layout_and_alone(tmp_path):
  found = output("trainer", tmp_path)
  whole, moved = found["whole"], found["moved"]
  for name in ("loss", "train_loss", "bits_per_byte"):
    assert moved[name] == pytest.approx(whole[name], abs=1e-5)
  assert moved["steps"] == whole["steps"] and moved["loss_tokens"] == whole["loss_tokens"]
