"""What a user gets wrong is one sentence and exit code 2, and nothing is built before the config is sound."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]
TINY = ["--config.steps=2", "--config.evaluate_every=0", "--config.model.width=8", "--config.model.head_width=4",
        "--config.model.depth=1", "--config.data.batch=2", "--config.data.length=16", "--config.data.tokenizer=bytes",
        "--config.data.validation_fraction=0.3", "--config.data.validation_tokens=100"]  # fmt: skip
SOUND = "--config.data.corpus={folder}/sound.jsonl"
CONFIGS = [  # found before anything is built
  (["--config.model.widht=3"], r"no field 'model.widht'; the nearest is --config.model.width"),
  (["--config.steps=many"], "--config.steps=many: the value must be of type int"),
  (["--config.model.width=30"], "model.width 30 is not a multiple of model.head_width 4"),
  (["--config.optimizer.microbatches=3"], "data.batch 2 is not divisible by optimizer.microbatches 3"),
  (["--config.data.length=0"], "data.length is 0; it must be 1 or more"),
  (["--config.steps=0", "--config.flops=-1e9"], r"flops is -1000000000.0; it must be 0 or more"),
  (["--config.flops=1e9"], r"exactly one of steps, tokens and flops .*set now: steps=2 and flops=1e\+09"),
  (["--config.steps=0"], "set now: none of them"),
  (["--config.data.objective=casual"], "there is no objective 'casual'; the nearest is 'causal'"),
  (["--config.data.objective=masked"], "objective masked trains encoder, not model.family decoder"),
  (["--config=configs/preset.py:gtp2"], "there is no preset 'gtp2'; the nearest is 'gpt2'"),
  (["--config=configs/nothing.py"], "no such file"),
  (["--config.trunk=a/b"], "trunk is 'a/b'; it must be the name of a folder"),
  (
    ["--config.trunk=a"],
    "trunk 'a' needs a schedule .* optimizer.schedule is linear; set it to wsd or wsd_sqrt",
  ),
  (["--config=configs/smoke.py", "--config.width=3"], "no field 'width'"),
]
TEXTS = [  # found when the text is read
  (["--config.data.corpus={folder}/empty.txt"], "empty"),
  (["--config.data.corpus={folder}/nothing-*.txt"], "nothing-"),
  (["--config.data.corpus={folder}/missing.txt"], "missing.txt"),
  (["--config.data.corpus={folder}/latin.txt"], r"latin.txt.*\b5\b"),
  (["--config.data.corpus=jsonl:{folder}/broken.jsonl"], r"broken.jsonl.*\b2\b"),
  ([SOUND, "--config.data.tokenizer=bpe", "--config.data.vocab=50000"], "50,?000"),
  ([SOUND, "--config.model.vocab=100"], "model.vocab 100 is less than the 260"),
  ([SOUND, "--config.model.positions=learned", "--config.model.context=8"], "8 is less than the 16 positions"),
]  # fmt: skip


def tried(folder, cases):
  """Returns (exit code, what was printed) of each command line."""
  environment, answers = os.environ | {"GEN_CACHE": str(folder / "cache")}, []
  for words in cases:
    done = programs.run(["experiments/pretrain.py", *words], env=environment)
    answers.append((done.returncode, done.stdout + done.stderr))
  return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("mistakes")
  (folder / "empty.txt").write_text("")
  (folder / "latin.txt").write_bytes(b"caf\xc3\xa9\xe9 au lait")
  (folder / "broken.jsonl").write_text('{"text": "one"}\n{"text": "two\n{"text": "three"}\n')
  lines = [f'{{"text": "sentence {i} of {i * i}, said in words, {i % 7} times over"}}' for i in range(200)]
  (folder / "sound.jsonl").write_text("\n".join(lines) + "\n")
  (folder / "file").write_text("")
  return folder


def one_sentence(said):
  """Returns the error, which is the last line and the only one; before it stand lines that report progress."""
  errors = [line for line in said.splitlines() if line.startswith("error: ")]
  assert len(errors) == 1 and said.rstrip().endswith(errors[0]) and "Traceback" not in said, said
  return errors[0]


def test_a_config_that_cannot_be_is_refused_before_anything_is_built(folder):
  workdir = folder / "never"
  found = tried(folder, [[*TINY, *words, f"--workdir={workdir}"] for words, _ in CONFIGS])
  assert len(found) == len(CONFIGS)
  for (words, expected), (code, said) in zip(CONFIGS, found, strict=True):
    assert code == 2, (words, said)
    assert re.search(expected, one_sentence(said)), (words, said)
    assert len(said.strip().splitlines()) == 1
  assert not workdir.exists() and not (folder / "cache").exists()


def test_text_that_cannot_be_read_is_named(folder):
  cases = [[*TINY, *(word.format(folder=folder) for word in words)] for words, _ in TEXTS]
  found = tried(folder, [[*words, f"--workdir={folder / f'text{i}'}"] for i, words in enumerate(cases)])
  assert len(found) == len(TEXTS)
  for (words, expected), (code, said) in zip(TEXTS, found, strict=True):
    assert code == 2, (words, said)
    assert re.search(expected, one_sentence(said)), (words, said)


def test_a_run_directory_that_cannot_be_written_or_is_anothers_is_named(folder):
  words = [*TINY, f"--config.data.corpus={folder / 'sound.jsonl'}"]
  trained, other = folder / "trained", folder / "other"
  first = tried(folder, [
    [*words, f"--workdir={folder / 'file' / 'run'}"],
    [*words, f"--workdir={trained}"],
    [*words, f"--workdir={trained}", "--config.model.depth=2"],
  ])  # fmt: skip
  assert [code for code, _ in first] == [2, 0, 2], first
  assert str(folder / "file" / "run") in one_sentence(first[0][1])
  assert "model.depth: 1 -> 2" in one_sentence(first[2][1])
  # A checkpoint states its run, so it is known as another's in a folder that holds nothing else.
  other.mkdir()
  (trained / "checkpoints").rename(other / "checkpoints")
  ((code, said),) = tried(folder, [[*words, f"--workdir={other}", "--config.model.bias=True"]])
  assert code == 2
  assert f"{other} holds another run (model.bias: False -> True)" in one_sentence(said)


@pytest.fixture
def small_disk(tmp_path):
  """A file system in memory of few bytes; only root can make one."""
  disk = tmp_path / "disk"
  disk.mkdir()
  done = subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, text=True
  )
  if done.returncode:
    pytest.skip(f"this process may not mount a file system: {done.stderr.strip()}")
  yield disk
  subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_one_sentence_and_keeps_the_journal(folder, small_disk):
  from gen.training.run_log import journal

  words = [*TINY, f"--config.data.corpus={folder / 'sound.jsonl'}", "--config.model.width=64"]
  ((code, said),) = tried(folder, [[*words, f"--workdir={small_disk / 'run'}", "--config.log_every=1"]])
  assert code == 2, said
  assert re.search("no space left", one_sentence(said), re.IGNORECASE), said
  rows = journal.read_journal(small_disk / "run" / "journal.jsonl")
  assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2]
