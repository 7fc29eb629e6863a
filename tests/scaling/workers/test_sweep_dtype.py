"""A sweep on GPUs computes in bfloat16 unless its dtype is set, and one that is continued keeps its own."""

import json

import pytest

from gen.config import Model, Sweep, to_dict
from gen.scaling.workers.executors import RunExecutor
from gen.scaling.workers.sweep_dtype import set_default_dtype

GPUS = RunExecutor("gpus")


@pytest.mark.parametrize(
  ("executor", "dtype"),
  [
    (RunExecutor("local"), "float32"),
    (GPUS, "bfloat16"),
    (RunExecutor("slurm", ("partition=gpu",)), "float32"),  # the name of a partition promises nothing
    (RunExecutor("slurm", ("gpus_per_task=1",)), "bfloat16"),
    (RunExecutor("slurm", ("time=1", "gres=gpu:2")), "bfloat16"),
  ],
)
def test_the_executor_decides_where_the_dtype_is_not_set(tmp_path, executor, dtype):
  sweep = Sweep()
  line = set_default_dtype(sweep, tmp_path, executor)
  assert sweep.model.dtype == dtype and ("the default on GPUs" in line) == (dtype == "bfloat16")


def test_a_dtype_that_is_set_stays(tmp_path):
  sweep = Sweep(model=Model(dtype="float32"))
  assert set_default_dtype(sweep, tmp_path, GPUS) == "" and sweep.model.dtype == "float32"


@pytest.mark.parametrize(("executor", "dtype"), [(GPUS, "float32"), (RunExecutor(), "bfloat16")])
def test_a_sweep_that_is_continued_keeps_its_own(tmp_path, executor, dtype):
  values = {"sweep": to_dict(Sweep(model=Model(dtype=dtype)))}
  (tmp_path / "config.json").write_text(json.dumps(values))
  sweep = Sweep()
  set_default_dtype(sweep, tmp_path, executor)
  assert sweep.model.dtype == dtype


@pytest.mark.parametrize("text", ["", "[]", '{"sweep": 3}', '{"sweep": {"model": {"dtype": 5}}}'])
def test_a_damaged_config_is_left_to_those_who_open_it(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  sweep = Sweep()
  set_default_dtype(sweep, tmp_path, GPUS)
  assert sweep.model.dtype == "bfloat16"
