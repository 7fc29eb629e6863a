"""The command line speaks before anything heavy is imported: unknown fields, wrong types, and the environment."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import environment, launch, overrides
from gen.config import Run, Sweep
from gen.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
  ("wrong", "nearest"),
  [
    ("model.widht", "model.width"),
    ("width", "model.width"),
    ("optimizer.learning_rate", "optimizer.peak_learning_rate"),
    ("model.batch", "data.batch"),
    ("stpes", "steps"),
    ("data.vocabulary", "data.vocab"),
    ("model.width.height", "model.width"),
    ("precision", "model.dtype"),
    ("lr", "optimizer.peak_learning_rate"),
    ("data.batch_size", "data.batch"),
  ],
)
def test_an_unknown_field_is_told_the_nearest_one(wrong, nearest):
  with pytest.raises(
    UserError, match=re.escape(f"config has no field {wrong!r}; the nearest is --config.{nearest}")
  ):
    overrides.check_overrides([f"--config.{wrong}=3"], Run)


def test_a_field_like_none_is_told_what_there_is():
  with pytest.raises(
    UserError, match="config has no field 'xyzzy'; its fields are name, seed, model, data, optimizer"
  ):
    overrides.check_overrides(["--config.xyzzy=3"], Run)


WRONG = [
  (Run, "model.width", "wide", "must be of type int"),
  (Run, "model.width", "1.5", "must be of type int"),
  (Run, "optimizer.clip", "tight", "must be of type float"),
  (Run, "model.bias", "maybe", "must be of type bool"),
  (Run, "model", "3", "is a group of fields"),
  (Sweep, "budgets", "1e9", "must be a tuple such as"),
  (Sweep, "budgets", "('a',)", "must be a tuple such as"),
  (Sweep, "budgets", "(1e9,", "must be a tuple such as"),
  (Sweep, "widths", "(8, 16)", "must be a tuple such as"),
  (Sweep, "widths", "((8, 1.5),)", "must be a tuple such as"),
]


@pytest.mark.parametrize(("kind", "path", "value", "words"), WRONG)
def test_a_value_of_the_wrong_type_is_named(kind, path, value, words):
  with pytest.raises(UserError, match=words) as raised:
    overrides.check_overrides([f"--config.{path}={value}"], kind)
  assert f"--config.{path}" in str(raised.value)


@pytest.mark.parametrize(
  ("kind", "words"),
  [
    (Run, ["--config.model.width=48", "--config.optimizer.clip=1", "--config.model.bias=True"]),
    (Run, ["--config.data.corpus=a=b.txt", "-config.steps=3", "--config.tokens=1e6"]),
    (Run, ["--config.model.width", "48", "--workdir", "x"]),
    (
      Sweep,
      ["--config.budgets=(1e9, 2)", "--config.widths=((8, 16), (8,))", "--config.criteria.min_steps=1"],
    ),
    (Run, ["--", "--config.nothing=3"]),
  ],
)
def test_right_values_pass(kind, words):
  overrides.check_overrides(words, kind)


def test_a_flag_without_a_value_says_so():
  with pytest.raises(UserError, match=r"--config\.steps has no value; write --config\.steps=VALUE"):
    overrides.check_overrides(["--config.steps"], Run)


def test_overrides_are_read_with_an_equals_sign_or_without():
  words = ["--config=a.py", "--config.seed=1", "--config.steps", "3", "--json=x", "--config.data.corpus=k=v"]
  read = [(path, value) for _, path, value in overrides.placed_overrides(words)]
  assert read == [("seed", "1"), ("steps", "3"), ("data.corpus", "k=v")]


def test_a_default_config_is_the_projects_own_where_the_working_directory_has_none(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert Path(launch._own_file("configs/decoder.py")).samefile(ROOT / "configs" / "decoder.py")
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "decoder.py").touch()
  assert launch._own_file("configs/decoder.py") == "configs/decoder.py"


def test_a_worker_has_as_many_threads_as_cores_and_the_allocators_settings_once(monkeypatch):
  monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1:glibc.malloc.arena_max=4")
  variables = environment.worker_environment(3)
  assert variables["OMP_NUM_THREADS"] == "3"
  tunables = variables["GLIBC_TUNABLES"].split(":")
  assert tunables[:2] == ["glibc.malloc.check=1", "glibc.malloc.arena_max=4"]
  assert tunables[2:4] == ["glibc.malloc.hugetlb=1", "glibc.malloc.mmap_max=0"] and len(tunables) == 5
  monkeypatch.setenv("GLIBC_TUNABLES", variables["GLIBC_TUNABLES"])
  assert environment.worker_environment()["GLIBC_TUNABLES"] == variables["GLIBC_TUNABLES"]
  monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
  assert environment.worker_environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"


REUSE = """
import resource, threading
import numpy as np

def fill():
  np.ones(100 << 20, np.uint8)

def faults():
  thread = threading.Thread(target=fill)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  thread.start(); thread.join()
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_what_a_workers_thread_frees_is_there_when_it_allocates_again(monkeypatch):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  found = subprocess.run(
    [sys.executable, "-c", REUSE],
    env=environment.worker_environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert int(found.stdout) < 40  # 52 without them, where numpy asks for huge pages itself


@pytest.mark.parametrize(
  ("variables", "threads"),
  [
    ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}, None),
    ({"XLA_FLAGS": "--xla_force_host_platform_device_count=6"}, "48"),
    ({"XLA_FLAGS": "--xla_force_host_platform_device_count=6", "NPROC": "3"}, "3"),
  ],
)
def test_simulated_devices_get_threads_unless_the_user_has_said_how_many(monkeypatch, variables, threads):
  monkeypatch.setattr(os, "environ", variables)
  environment.give_simulated_devices_threads()
  assert variables.get("NPROC") == threads


UNITS = [
  (Run, "tokens", "1M", "1000000.0"),
  (Run, "tokens", "3_000_000", "3000000.0"),
  (Run, "steps", "1e3", "1000"),
  (Run, "steps", "2k", "2000"),
  (Run, "flops", "1.5B", "1500000000.0"),
  (Run, "data.corpus", "1M", "1M"),
  (Sweep, "budgets", "(1e9, 2T)", "(1000000000.0, 2000000000000)"),
  (Sweep, "widths", "((8, 1e3), [1k])", "((8, 1000), (1000,))"),
]


@pytest.mark.parametrize(("kind", "path", "value", "plain"), UNITS)
def test_a_field_takes_numbers_with_units(kind, path, value, plain):
  words = ["--workdir=1M", f"--config.{path}={value}", f"--config.{path}", value, "--config.seed=4"]
  assert overrides.check_overrides(words, kind) == [
    "--workdir=1M", f"--config.{path}={plain}", f"--config.{path}", plain, "--config.seed=4",
  ]  # fmt: skip


@pytest.mark.parametrize("value", ["1.5", "1e400", "nan", "inf", "10^30", "9" * 5000, "", "1e30", "None"])
@pytest.mark.parametrize("path", ["steps", "tokens", "data.batch", "optimizer.clip"])
def test_a_field_refuses_what_is_no_number_in_one_short_sentence(path, value):
  if (value, path) in (
    ("1.5", "tokens"),
    ("1.5", "optimizer.clip"),
    ("1e30", "tokens"),
    ("1e30", "optimizer.clip"),
  ):
    return
  with pytest.raises(UserError) as raised:
    overrides.check_overrides([f"--config.{path}={value}"], Run)
  assert f"--config.{path}=" in str(raised.value) and len(str(raised.value)) < 350
