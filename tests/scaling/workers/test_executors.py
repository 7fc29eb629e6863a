"""One flag says where runs are trained; what is not there is one sentence."""

import pytest

from gen.errors import UserError
from gen.scaling.workers import clusters, executors
from gen.scaling.workers import pool as pools
from gen.scaling.workers.executors import RunExecutor
from tests.scaling.workers.test_pool import COMMAND, kinds, runs_of


@pytest.fixture
def with_cuda(monkeypatch):
  monkeypatch.setattr(executors.importlib.util, "find_spec", lambda name: name == "jax_cuda13_plugin")


def test_each_gpu_of_the_machine_has_a_worker_that_sees_no_other(tmp_path, monkeypatch, with_cuda):
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
  runs = runs_of(3)
  trainer = RunExecutor("gpus").trainer(0, len(runs), tmp_path / "logs", COMMAND)
  events = list(trainer.train(runs, tmp_path))
  assert trainer.workers == 2 and len(kinds(events, "finished")) == 3
  seen = {(tmp_path / run.name / "device").read_text() for run in runs}
  assert seen == {"3 cuda,cpu", "5 cuda,cpu"}


def test_gpus_are_counted_by_the_drivers_own_tool(tmp_path, monkeypatch, with_cuda):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(UserError, match="nvidia-smi lists none; choose --executor=local"):
    executors.visible_gpus()
  (tmp_path / "nvidia-smi").write_text(
    "#!/bin/sh\necho 'GPU 0: one (UUID: a)'\necho 'GPU 1: two (UUID: b)'\n"
  )
  (tmp_path / "nvidia-smi").chmod(0o755)
  assert executors.visible_gpus() == ["0", "1"] and RunExecutor("gpus").max_workers(0) == 2
  with pytest.raises(UserError, match=r"config.workers is 3, but there are 2 GPUs"):
    RunExecutor("gpus").max_workers(3)


MISTAKES = [
  (RunExecutor("gpus"), "CUDA_VISIBLE_DEVICES is empty"),
  (RunExecutor("slurm"), "there is no sbatch here"),
  (RunExecutor("slurm", ("partition",)), "--slurm=partition: write --slurm=NAME=VALUE"),
  (RunExecutor("slurm", ("array=0-3",)), "the sweep sets array itself"),
  (RunExecutor("slurm", ("time=soon",)), "--slurm=time=soon: write minutes, HH:MM:SS or D-HH:MM:SS"),
  (RunExecutor("slurm", ("time=00:02:00",)), "give at least 5 minutes"),
  (RunExecutor("local", ("time=9",)), "--slurm=time=9 is an option of --executor=slurm, not of local"),
]


@pytest.mark.parametrize(("executor", "words"), MISTAKES)
def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch, executor, words):
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
  with pytest.raises(UserError, match=words.replace("(", r"\(")):
    executor.check()


def test_gpus_without_a_jax_that_knows_them_are_refused(monkeypatch):
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
  monkeypatch.setattr(executors.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    UserError, match=r"jax with CUDA, which is not installed; start with `uv run --extra gpu"
  ):
    RunExecutor("gpus").check()


def test_a_missing_extra_is_named(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "submitit", None)
  with pytest.raises(UserError, match=r"--executor=submitit-local needs submitit.*uv run --extra slurm"):
    RunExecutor("submitit-local").check()


def test_a_cluster_decides_how_many_run_unless_the_user_does(monkeypatch):
  assert RunExecutor("slurm").described(0) == {"executor": "slurm", "workers": None}
  assert RunExecutor("slurm").described(3) == {"executor": "slurm", "workers": 3}
  assert RunExecutor().described(0) == {"executor": "local", "workers": len(pools.pool_cores())}
  assert clusters.sbatch_parameters({})["time"] == clusters.MINUTES
