import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen.errors import UserError
from gen.io import checksums
from gen.training.checkpointing import checkpoint_folder, checkpoint_records
from gen.training.checkpointing.checkpoints import Checkpoints
from tests import programs

KILLED = Path(__file__).parent / "killed_saves.py"


def _state(seed: int = 0):
  params = {"layer": {"kernel": jax.random.normal(jax.random.key(seed), (5, 7)), "bias": jnp.zeros(7)}}
  return {"params": params, "moments": optax.adam(1e-3).init(params), "step": jnp.int32(seed)}


def _equal(first, second):
  def check(one, other):
    assert one.dtype == other.dtype and one.shape == other.shape
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()

  jax.tree.map(check, first, second)


@pytest.fixture
def two_steps(tmp_path):
  """A folder with steps 10 and 20, closed."""
  with Checkpoints(tmp_path / "saved", report=_never) as checkpoints:
    checkpoints.save(10, _state(10), {"epoch": 1})
    checkpoints.save(20, _state(20), {"epoch": 2})
  return tmp_path / "saved"


def _never(sentence):
  raise AssertionError(sentence)


def _flip(path: Path, seed: int = 0) -> None:
  content = bytearray(path.read_bytes())
  content[random.Random(seed).randrange(len(content))] ^= 1 << seed % 8
  path.write_bytes(content)


def test_every_type_comes_back_bit_for_bit(tmp_path):
  bits = np.random.default_rng(0).integers(0, 2**32, (3, 4), dtype=np.uint32)
  state = {
    "float32": jax.lax.bitcast_convert_type(jnp.asarray(bits), jnp.float32),  # NaNs with payloads among them
    "bfloat16": jax.lax.bitcast_convert_type(jnp.asarray(bits.astype(np.uint16)), jnp.bfloat16),
    "float16": jnp.asarray([1.5, -0.0, jnp.inf], jnp.float16),
    "float8": jnp.asarray([0.5, 448], jnp.float8_e4m3fn),
    "int8": jnp.arange(-3, 3, dtype=jnp.int8),
    "key": jax.random.key_data(jax.random.key(7)),
    "bool": jnp.asarray([True, False]),
    "empty": jnp.zeros((0, 3)),
    "float64": np.asarray([1 / 3]),
    "int64": np.int64(2**40),
    "tuple": (jnp.float32(1), [jnp.int32(2)]),
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    restored, _ = checkpoints.restore(state)
  _equal(state, restored)
  assert isinstance(restored["float64"], np.ndarray) and isinstance(restored["key"], jax.Array)
  assert jax.tree.structure(restored) == jax.tree.structure(state)


def test_typed_random_keys_and_python_numbers_come_back_as_they_were(tmp_path):
  state = {
    "key": jax.random.key(3, impl="rbg"),
    "keys": jax.random.split(jax.random.key(1), 4),
    "n": 5,
    "x": 0.1,
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    for template in (state, jax.eval_shape(lambda: {**state, "n": 0, "x": 0.0}) | {"n": 0, "x": 0.0}):
      restored, _ = checkpoints.restore(template)
      assert restored["n"] == 5 and type(restored["n"]) is int and restored["x"] == 0.1
      assert restored["key"].dtype == state["key"].dtype
      assert jax.random.uniform(restored["key"]) == jax.random.uniform(state["key"])
      assert jnp.array_equal(jax.random.key_data(restored["keys"]), jax.random.key_data(state["keys"]))


def test_shapes_alone_are_template_enough(two_steps):
  with Checkpoints(two_steps) as checkpoints:
    restored, _ = checkpoints.restore(jax.eval_shape(_state))
  _equal(restored, _state(20))


def test_meta_lies_in_the_same_step_and_is_read_without_arrays(two_steps):
  shutil.rmtree(two_steps / "000000020" / "state")
  checkpoints = Checkpoints(two_steps)
  assert checkpoints.meta(10) == {"epoch": 1, "step": 10}
  assert checkpoints.meta(20) == {"epoch": 2, "step": 20}
  with pytest.raises(UserError, match="no checkpoint of step 15; complete steps: 10, 20"):
    checkpoints.meta(15)


def test_a_restore_of_nothing_is_one_sentence(tmp_path):
  checkpoints = Checkpoints(tmp_path / "none")
  assert checkpoints.latest() is None and not (tmp_path / "none").exists()
  with pytest.raises(UserError, match="none has no complete checkpoint"):
    checkpoints.restore(_state())


def test_what_happens_to_the_state_after_save_does_not_reach_the_disk(tmp_path):
  # The next step is donated the very arrays that are being written, and numpy arrays change in place.
  advance = jax.jit(lambda x: x + 1, donate_argnums=0)
  array, plain = jnp.zeros(300_000), np.zeros(4)
  with Checkpoints(tmp_path, keep=9) as checkpoints:
    for step in range(5):
      meta = {"nested": [step]}
      checkpoints.save(step, {"array": array, "plain": plain}, meta)
      array = advance(advance(array))
      plain += 2
      meta["nested"][0] = -1
    for step in range(5):
      restored, meta = checkpoints.restore({"array": array, "plain": plain}, step)
      assert (restored["array"] == 2 * step).all() and (restored["plain"] == 2 * step).all()
      assert meta["nested"] == [step]


def test_save_returns_before_the_disk_has_it(tmp_path, monkeypatch):
  seal, allowed = checksums.seal_folder, threading.Event()
  monkeypatch.setattr(checksums, "seal_folder", lambda folder: (allowed.wait(20), seal(folder)))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, _state(), {})
    assert checkpoint_folder.complete_steps(tmp_path) == []
    allowed.set()
    assert checkpoints.latest() == 3
  with Checkpoints(tmp_path, asynchronous=False) as checkpoints:
    checkpoints.save(4, _state(), {})
    assert checkpoint_folder.complete_steps(tmp_path) == [3, 4]


def test_the_policy_keeps_the_last_every_nth_and_the_best(tmp_path):
  losses = {10: 5.0, 20: 4.0, 30: 3.0, 40: float("nan"), 50: 3.5, 60: 3.2, 70: 3.1}
  with Checkpoints(tmp_path, keep=2, keep_every=20, keep_best="loss") as checkpoints:
    for step, loss in losses.items():
      checkpoints.save(step, {"x": jnp.zeros(2)}, {"loss": loss})
    assert checkpoints.steps() == [20, 30, 40, 60, 70]
  assert sorted(path.name for path in tmp_path.iterdir()) == [f"0000000{n}" for n in (20, 30, 40, 60, 70)]


def test_the_step_just_written_stays_even_when_later_ones_exist(two_steps):
  with Checkpoints(two_steps, keep=1) as checkpoints:
    checkpoints.save(15, _state(15), {})
    assert checkpoints.steps() == [15, 20]
    checkpoints.rewind(15)
    assert checkpoints.steps() == [15]


def test_saving_a_step_again_replaces_it(two_steps):
  with Checkpoints(two_steps) as checkpoints:
    checkpoints.save(20, _state(99), {"epoch": 9})
    restored, meta = checkpoints.restore(_state())
  _equal(restored, _state(99))
  assert meta["epoch"] == 9 and len(list(two_steps.iterdir())) == 2


def test_a_kill_between_the_two_renames_of_a_replacement_keeps_the_old_version(two_steps):
  (two_steps / "000000020").rename(two_steps / "000000020.replaced")
  with Checkpoints(two_steps) as checkpoints:
    assert checkpoints.latest() == 20
    _equal(checkpoints.restore(_state())[0], _state(20))
    checkpoints.save(20, _state(99), {})
    _equal(checkpoints.restore(_state())[0], _state(99))
  assert sorted(path.name for path in two_steps.iterdir()) == ["000000010", "000000020"]


def test_a_step_that_is_being_deleted_is_no_longer_a_step(two_steps, monkeypatch):
  def fail_halfway(path, **_):
    if path.is_dir():
      (path / "meta.json").unlink()
      raise OSError(errno.EIO, os.strerror(errno.EIO))

  with Checkpoints(two_steps) as checkpoints:
    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output"):
      patched.setattr(shutil, "rmtree", fail_halfway)
      checkpoints.rewind(10)
    assert checkpoints.steps() == [10]


def test_what_killed_writers_left_is_cleared_by_the_next_save_and_not_by_a_reader(two_steps):
  (two_steps / "000000030.partial" / "state").mkdir(parents=True)
  (two_steps / "000000005.old").mkdir()
  with Checkpoints(two_steps) as checkpoints:
    assert checkpoints.latest() == 20
    assert len(list(two_steps.iterdir())) == 4
    checkpoints.save(30, _state(), {})
  assert sorted(path.name for path in two_steps.iterdir()) == ["000000020", "000000030"]


def test_a_flipped_bit_in_any_file_is_found_and_the_file_named(two_steps):
  files = [path for path in (two_steps / "000000020").rglob("*") if path.is_file()]
  assert len(files) > 6
  with Checkpoints(two_steps, report=_never) as checkpoints:
    for seed, path in enumerate(files):
      before = path.read_bytes()
      _flip(path, seed)
      name = path.relative_to(two_steps / "000000020").as_posix()
      with pytest.raises(UserError, match=f"000000020 is damaged: {name} .*; the step before it is 10"):
        checkpoints.restore(_state())
      path.write_bytes(before)
    _equal(checkpoints.restore(_state())[0], _state(20))


def test_a_restore_that_may_fall_back_goes_to_the_step_before_and_says_so(two_steps):
  said = []
  (two_steps / "000000020" / "meta.json").write_text('{"half')
  with Checkpoints(two_steps, keep=1, report=said.append) as checkpoints:
    restored, meta = checkpoints.restore(_state(), fall_back=True)
    assert meta == {"epoch": 1, "step": 10} and checkpoints.latest() == 10
    _equal(restored, _state(10))
    assert len(said) == 1 and "meta.json" in said[0] and "step 10 is restored" in said[0]
    checkpoints.save(20, _state(20), {"epoch": 2})
    assert checkpoints.restore(_state(), fall_back=True)[1]["epoch"] == 2
  assert sorted(path.name for path in two_steps.iterdir()) == ["000000020", "000000020.damaged"]


def test_a_restore_that_has_nothing_to_fall_back_to_says_so(two_steps):
  for step in (10, 20):
    shutil.rmtree(two_steps / f"{step:09d}" / "state")
  with (
    Checkpoints(two_steps, report=lambda _: None) as checkpoints,
    pytest.raises(UserError, match="no earlier one"),
  ):
    checkpoints.restore(_state(), fall_back=True)


def test_another_model_is_told_in_leaves(two_steps):
  other = _state()
  other["params"]["layer"]["kernel"] = jnp.zeros((5, 8))
  other["params"]["layer"]["gain"] = jnp.zeros(7)
  del other["step"]
  with Checkpoints(two_steps) as checkpoints, pytest.raises(UserError) as caught:
    checkpoints.restore(other)
  first, *lines = str(caught.value).splitlines()
  assert first.endswith("000000020 is of another model:")
  assert [line.strip() for line in lines] == [
    "missing from the checkpoint: params/layer/gain float32[7]",
    "extra in the checkpoint: step int32[]",
    "different: params/layer/kernel is float32[5,7] in the checkpoint, float32[5,8] here",
  ]


def test_one_unlike_leaf_is_seen_behind_many_missing_ones(two_steps):
  other = {f"w{n}": jnp.zeros(2) for n in range(30)} | {"step": jnp.float32(0)}
  with Checkpoints(two_steps) as checkpoints, pytest.raises(UserError) as caught:
    checkpoints.restore(other)
  lines = str(caught.value).splitlines()
  assert lines[-1].strip() == "different: step is int32[] in the checkpoint, float32[] here"
  assert "and 20 more missing" in lines[11] and not any("more extra" in line for line in lines)


def test_another_tokenizer_is_one_sentence():
  checkpoint_records.require_tokenizer({"tokenizer": "abc"}, "abc", "here")
  with pytest.raises(
    UserError, match="checkpoint here was trained with tokenizer abc, but the data now use def"
  ):
    checkpoint_records.require_tokenizer({"tokenizer": "abc"}, "def", "here")


def _no_space(*_, **__):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failed_asynchronous_save_is_raised_by_the_next_call_and_only_there(two_steps, monkeypatch):
  with Checkpoints(two_steps) as checkpoints:
    with monkeypatch.context() as patched:
      patched.setattr(checksums, "seal_folder", _no_space)
      checkpoints.save(30, _state(30), {})
      with pytest.raises(UserError, match=rf"step 30 in {two_steps}: no space left .* checkpoint is step 20"):
        checkpoints.save(40, _state(40), {})
    assert checkpoints.latest() == 20
    checkpoints.save(40, _state(40), {})
  assert checkpoint_folder.complete_steps(two_steps) == [20, 40]


def test_an_error_inside_the_with_block_is_not_hidden_by_a_failed_save(two_steps, monkeypatch):
  monkeypatch.setattr(checksums, "seal_folder", _no_space)
  with pytest.raises(KeyError) as caught, Checkpoints(two_steps) as checkpoints:
    checkpoints.save(30, _state(30), {})
    raise KeyError("the first reason")
  assert "no space left" in caught.value.__notes__[0]
  with pytest.raises(UserError, match="no space left"), Checkpoints(two_steps) as checkpoints:
    checkpoints.save(30, _state(30), {})


@pytest.fixture
def mounted(tmp_path):
  """Mounts a file system in memory: (options) -> folder. Only root can."""
  folders = []

  def mount(options):
    folder = tmp_path / f"mount{len(folders)}"
    folder.mkdir()
    done = subprocess.run(
      ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
      pytest.skip(f"this process may not mount a file system: {done.stderr.strip()}")
    folders.append(folder)
    return folder

  yield mount
  for folder in folders:
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_names_the_folder_and_spares_the_steps_before(mounted):
  folder = mounted("size=1m") / "saved"
  small, large = {"x": np.ones(1000, np.float32)}, {"x": np.random.default_rng(0).random(400_000)}
  with Checkpoints(folder, keep=3) as checkpoints:
    checkpoints.save(1, small, {})
    checkpoints.save(2, large, {})
    with pytest.raises(
      UserError, match=rf"^cannot save step 2 in {folder}: no space left.*checkpoint is step 1$"
    ):
      checkpoints.wait()
    checkpoints.save(3, small, {})  # The failed one gave its space back.
    assert checkpoints.steps() == [1, 3]
    assert checkpoints.restore(small)[1]["step"] == 3


def test_an_unwritable_folder_is_one_sentence(mounted):
  with (
    Checkpoints(mounted("ro") / "saved") as checkpoints,
    pytest.raises(UserError, match="folder is not writable"),
  ):
    checkpoints.save(1, _state(), {})


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with Checkpoints(tmp_path / "file" / "saved") as checkpoints:
    with pytest.raises(UserError, match=r"cannot save step 1 in .*Not a directory"):
      checkpoints.save(1, _state(), {})
    assert checkpoints.latest() is None


SHARDED = """
import sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from gen.training.checkpointing.checkpoints import Checkpoints
devices = np.array(jax.devices())
first = NamedSharding(Mesh(devices, ["data"]), P("data"))
second = NamedSharding(Mesh(devices.reshape(2, 2), ["data", "tensor"]), P("tensor", "data"))
x = jax.device_put(np.arange(96, dtype=np.float32).reshape(8, 12), first)
with Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(1, {"x": x}, {})
  restored, _ = checkpoints.restore({"x": jax.ShapeDtypeStruct((8, 12), np.float32, sharding=second)})
assert restored["x"].sharding == second and (restored["x"] == x).all()
"""


def test_arrays_split_over_devices_come_back_in_another_layout_and_on_one_device(tmp_path):
  environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
  done = programs.run(["-c", SHARDED, tmp_path], env=environment)
  assert done.returncode == 0, done.stderr
  with Checkpoints(tmp_path) as checkpoints:
    restored, _ = checkpoints.restore({"x": jax.ShapeDtypeStruct((8, 12), np.float32)})
  assert len(restored["x"].devices()) == 1
  np.testing.assert_array_equal(restored["x"], np.arange(96).reshape(8, 12))


def _killed(folder, kills, seed):
  command = [sys.executable, str(KILLED), str(folder), f"--kills={kills}", f"--seed={seed}"]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_processes_killed_while_saving_lose_and_break_nothing(tmp_path):
  result = _killed(tmp_path, kills=10, seed=1)
  assert result["half_written"] >= 3 and result["latest"] >= 5


@pytest.mark.release
@pytest.mark.slow
def test_a_hundred_kills_lose_and_break_nothing(tmp_path):
  result = _killed(tmp_path, kills=100, seed=2)
  assert result["half_written"] >= 40 and result["latest"] >= 60
