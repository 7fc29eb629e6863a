"""A program in a fork of the server behaves as one that an interpreter starts."""

import os
import signal
import subprocess
import sys

import pytest

from tests import programs

pytestmark = pytest.mark.process

SHOWN = """
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), os.environ.get("SAID"), __name__)
print("error", file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.parametrize("form", ["script", "module", "code"])
def test_words_folder_environment_output_and_code_are_those_of_an_interpreter(form, tmp_path):
  (tmp_path / "shown.py").write_text(SHOWN)
  words = {"script": ["shown.py"], "module": ["-m", "shown"], "code": ["-c", SHOWN]}[form]
  environment = os.environ | {"SAID": "ä word"}
  done = programs.run([*words, "a b", 3], cwd=tmp_path, env=environment)
  real = subprocess.run(
    [sys.executable, *words, "a b", "3"], cwd=tmp_path, env=environment, capture_output=True, text=True
  )
  assert (done.returncode, done.stdout, done.stderr) == (real.returncode, real.stdout, real.stderr)
  assert done.returncode == 7 and "ä word" in done.stdout


def test_an_exception_is_a_traceback_and_code_1():
  done = programs.run(["-c", "raise KeyError('lost')"])
  assert done.returncode == 1 and done.stderr.endswith("KeyError: 'lost'\n") and "Traceback" in done.stderr


def test_options_of_jax_and_xla_come_from_the_programs_environment():
  names = ("jax_enable_x64", "jax_disable_most_optimizations", "jax_compilation_cache_dir")
  code = f"import jax; print(jax.device_count(), *(jax.config.values[name] for name in {names}))"
  changed = {"JAX_ENABLE_X64": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
  for quick in ("true", "false"):
    environment = os.environ | changed | {"JAX_DISABLE_MOST_OPTIMIZATIONS": quick}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    assert programs.run(["-c", code], env=environment).stdout == f"3 True {quick == 'true'} None\n"
  assert programs.run(["-c", code]).stdout.startswith("1 False ")


def test_a_program_is_signalled_and_polled_and_its_end_runs_what_was_registered(tmp_path):
  code = """
import atexit, signal, sys, time
atexit.register(lambda: print("left"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("ready", flush=True)
time.sleep(60)
"""
  with (tmp_path / "said").open("w") as said:
    program = programs.start(["-c", code], said, said)
  while "ready" not in (tmp_path / "said").read_text():
    assert program.poll() is None
  program.send_signal(signal.SIGTERM)
  assert program.wait(60) == program.poll() == 5
  assert (tmp_path / "said").read_text() == "ready\nleft\n"


def test_a_program_that_takes_too_long_is_killed():
  with pytest.raises(subprocess.TimeoutExpired):
    programs.run(["-c", "import time; time.sleep(60)"], timeout=0.3)
