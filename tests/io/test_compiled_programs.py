"""A damaged compiled program is compiled again, with the same answer, by one process and by several at once."""

import os
import random
import subprocess
import sys

import pytest

from gen.io import compiled_programs as programs

pytestmark = pytest.mark.compiles

PROGRAM = """
import sys
import jax, jax.numpy as jnp
from gen.cli import environment
environment.compilation_cache(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event.rpartition("/")[2]))
found = jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.arange(6.0).reshape(2, 3))
print(float(found.sum()), seen.count("cache_hits"), seen.count("cache_misses"))
"""


def start(folder):
  command = [sys.executable, "-c", PROGRAM, str(folder)]
  return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
  out, log = process.communicate(timeout=120)
  assert process.returncode == 0, log
  answer, hits, misses = out.split()
  return answer, int(hits), int(misses), log


def test_a_program_with_a_flipped_bit_is_compiled_anew(tmp_path):
  answer, hits, misses, _ = ended(start(tmp_path))
  assert hits == 0 and misses > 0
  assert ended(start(tmp_path))[:3] == (answer, misses, 0)
  rng = random.Random(7)
  for path in tmp_path.glob("*-cache"):
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
  several = [ended(process) for process in [start(tmp_path), start(tmp_path)]]
  assert {one[0] for one in several} == {answer}
  assert any("is damaged and is compiled again" in one[3] for one in several)
  assert ended(start(tmp_path))[:3] == (answer, misses, 0), "what was dropped is there again"


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a[16,64]*?\\ %2F\n"], ids=ascii)
def test_a_folder_of_any_name_keeps_programs(tmp_path, name):
  folder = tmp_path / os.fsdecode(name)
  answer, hits, misses, _ = ended(start(folder))
  assert hits == 0 and misses > 0
  assert ended(start(folder))[:3] == (answer, misses, 0)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_no_flipped_bit_no_cut_and_no_other_key_passes_the_checksum(size):
  content = random.Random(size).randbytes(size)
  stored = programs.seal_program("key", content)
  assert programs.open_program("key", stored) == content
  assert programs.open_program("yek", stored) is None
  for place in range(len(stored)):
    assert programs.open_program("key", stored[:place]) is None
    damaged = bytearray(stored)
    damaged[place] ^= 1 << (place % 8)
    assert programs.open_program("key", bytes(damaged)) is None
