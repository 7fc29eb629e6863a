"""A run whose dtype is not set computes in bfloat16 on an accelerator and in float32 on a CPU, and keeps its own."""

import dataclasses

import pytest

from gen.config import Model, Run
from gen.errors import UserError
from gen.training import compute_dtype, loop
from gen.training.run_folders import run_folder


@pytest.fixture
def on(monkeypatch):
  """Makes jax report one device of another machine."""

  def report(backend, kind):
    device = type("Device", (), {"device_kind": kind})
    monkeypatch.setattr(compute_dtype.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(compute_dtype.jax, "devices", lambda: [device])

  return report


@pytest.mark.parametrize(
  ("backend", "kind", "dtype"),
  [
    ("cpu", "cpu", "float32"),
    ("gpu", "NVIDIA H100 80GB HBM3", "bfloat16"),
    ("gpu", "a GPU without an entry", "bfloat16"),
    ("gpu", "Tesla T4", "float32"),
    ("tpu", "TPU v5 lite", "bfloat16"),
  ],
)
def test_a_dtype_that_is_not_set_is_that_of_the_machine(tmp_path, on, backend, kind, dtype):
  on(backend, kind)
  assert compute_dtype.choose_dtype(Run(), tmp_path / "none") == dtype


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_dtype_that_the_user_set_stays(tmp_path, on, dtype):
  on("gpu", "NVIDIA H100 80GB HBM3")
  assert compute_dtype.choose_dtype(Run(model=Model(dtype=dtype)), tmp_path) == dtype


@pytest.mark.parametrize(("backend", "dtype"), [("gpu", "float32"), ("cpu", "bfloat16")])
def test_a_run_that_goes_on_elsewhere_keeps_its_own(tmp_path, on, backend, dtype):
  on(backend, "NVIDIA H100 80GB HBM3" if backend == "gpu" else "cpu")
  saved = Run(model=Model(width=96, dtype=dtype), steps=3)
  run_folder.claim_folder(tmp_path, saved)
  resumed = Run(model=Model(width=96), steps=3)
  assert compute_dtype.choose_dtype(resumed, tmp_path) == dtype
  model = dataclasses.replace(resumed.model, dtype=dtype)
  run_folder.claim_folder(tmp_path, dataclasses.replace(resumed, model=model))


def test_every_run_is_resolved_where_it_is_trained(run, data, tmp_path, monkeypatch):
  def refuse(model, optimizer):
    raise UserError(f"{model.dtype} and nothing compiled")

  monkeypatch.setattr(compute_dtype, "device_dtype", lambda default: "bfloat16")
  monkeypatch.setattr(loop.memory_check, "check_fits_in_memory", refuse)
  asked = dataclasses.replace(run, model=dataclasses.replace(run.model, dtype=Model().dtype))
  with pytest.raises(UserError, match="bfloat16 and nothing compiled"):
    loop.train_run(asked, tmp_path / "run", data)
  assert asked.model.dtype == "float32"
