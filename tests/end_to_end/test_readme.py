"""Every command in the README runs: as written where it is short, shrunk by flags where it is long."""

import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gen.config import ATLAS_FAMILIES
from tests import programs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

# These commands compile more than they compute; whether their numbers are right other tests ask.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
TEXT = "--config.data.corpus=docs/*.md"  # real text that needs no download and is read in a second
TINY = [
  TEXT,
  "--config.steps=3",
  "--config.evaluate_every=0",
  "--config.model.width=32",
  "--config.model.depth=1",
  "--config.model.head_width=16",
  "--config.data.batch=2",
]
SWEEP = [
  TEXT,
  "--config.budgets=(2e8,4e8)",
  "--config.widths=((8,),(8,))",
  "--config.model.heads=2",
  "--config.seeds=()",
  "--config.batches=()",
  "--config.depths=()",
  "--config.held_out=0",
  "--config.held_out_widths=()",
  "--config.bootstraps=20",
  "--config.model.depth=1",
  "--config.data.validation_tokens=2000",
  "--config.workers=1",
]
STUDY = {  # of each family of an atlas
  "budgets": "(2e8,4e8)",
  "widths": "((8,),(8,))",
  "seeds": "()",
  "held_out": "0",
  "held_out_widths": "()",
  "min_steps": "0",
  "data.corpus": "docs/*.md",
  "data.validation_tokens": "2000",
}
ATLAS = [f"--config.{family}.{name}={value}" for family in ATLAS_FAMILIES for name, value in STUDY.items()]
ATLAS += ["--families=decoder,encoder_decoder,lstm", "--config.bootstraps=20", "--config.workers=1"]
TUNE = [
  TEXT,
  "--config.budgets=(20,40)",
  "--config.widths=((8,),(8,))",
  # Far enough apart that any few steps on any text like the middle best.
  "--config.learning_rate_multipliers=(0.05,5,500)",
  "--config.held_out=50",
]
TUNE += ["--config.held_out_widths=(8,)", "--config.data.validation_tokens=2000", "--config.workers=1"]
MIXED = [
  "--config.data.mixture=docs/notes=1,docs/*.md=1",
  "--target=README.md",
  "--interior=2",
  "--config.budgets=(2e8,)",
  "--config.widths=((8,),)",
  "--config.held_out=4e8",
  "--config.held_out_widths=(8,)",
  "--config.model.depth=1",
  "--config.bootstraps=5",
  "--config.data.validation_tokens=1000",
  "--config.workers=1",
]
# tests/experiments run these to their end; here their flags are looked up.
ELSEWHERE = {
  f"experiments/{name}.py"
  for name in (
    "adapt_domain",
    "curation",
    "decoding",
    "few_shot",
    "finetune",
    "in_context",
    "retrieval",
    "rnn_vs_transformer",
    "tools",
    "worth_of_labels",
  )
}


def commands() -> list[str]:
  """Returns what follows `uv run` wherever the README says it, each once."""
  found = re.findall(r"uv run (?:--extra \w+ )?((?:experiments|scripts)/[^`#\n]+|pytest)", README)
  return list(dict.fromkeys(command.strip() for command in found))


def run(words: list[str], cache: Path) -> subprocess.CompletedProcess[str]:
  return programs.run(words, env=os.environ | {"GEN_CACHE": str(cache), "XLA_FLAGS": QUICK_TO_COMPILE})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
  """The folder of the run that commands about runs/decoder look at; none of them writes there."""
  folder = tmp_path_factory.mktemp("runs") / "decoder"
  done = run(["experiments/pretrain.py", *TINY, f"--workdir={folder}"], cache)
  assert done.returncode == 0, done.stderr[-3000:]
  return folder


def shrunk(command: str, folder: Path) -> list[str]:
  """Returns the command's words with flags that make it short; it keeps its script, its config and its own flags."""
  words = shlex.split(command)
  work = [f"--workdir={folder / 'run'}"]
  flags = {
    "experiments/chinchilla.py": SWEEP + work,
    "experiments/compare_families.py": ATLAS + work,
    "experiments/tune_learning_rate.py": TUNE + work,
    "experiments/tune_mixture.py": MIXED + work,
    "experiments/pretrain.py": TINY + work,
    "experiments/rehearse.py": ["--studies=1"],
    "experiments/word_vectors.py": [
      "--corpus=docs/*.md",
      "--epochs=1",
      "--width=4",
      "--min_count=50",
      *work,
    ],
    "experiments/compile_for.py": ["--preset=t5-small", "--config.model.depth=1"],
  }
  if "raw/*.jsonl.gz" in command:
    return shlex.split(
      command.replace("raw/*.jsonl.gz", "docs/*.md").replace("corpora/clean", str(folder / "clean"))
    )
  if "FILE.csv" in command:
    rows = ["params,tokens,loss"]
    rows += [
      f"{n},{d},{1.7 + 406 / n**0.34 + 411 / d**0.28}" for n in (1e6, 4e6, 2e7) for d in (3e7, 2e8, 1e9)
    ]
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    named = command.replace("FILE.csv", str(folder / "runs.csv")).replace(
      "=report.html", f"={folder}/report.html"
    )
    return shlex.split(named.replace("bootstraps=1000", "bootstraps=20"))
  return words + flags.get(words[0], [])


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands() if c != "pytest"])
def test_a_command_of_the_readme_runs(command, cache, request, tmp_path):
  if command.startswith("experiments/evaluate_tasks.py"):  # its tasks' data are elsewhere
    done = run(shlex.split(command), cache)
    assert done.returncode == 2, done.stderr[-3000:]
    installed = importlib.util.find_spec("lm_eval") is not None
    assert installed or "--extra harness" in done.stderr
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    return
  if command.split()[0] in ELSEWHERE:
    script, *flags = shlex.split(command)
    helped = run([script, "--help"], cache).stdout
    assert "--" in helped and all(flag.split("=")[0].lstrip("-") in helped for flag in flags)
    return
  if "runs/decoder" in command:
    command = command.replace("runs/decoder", str(request.getfixturevalue("trained")))
  done = run(shrunk(command, tmp_path), cache)
  if command.startswith("experiments/compile_for.py"):
    extra, compiler = ("absent-gpus", "jax_plugins") if "h100" in command else ("tpu", "libtpu")
    if importlib.util.find_spec(compiler) is None:
      assert done.returncode == 2 and f"--extra {extra}" in done.stderr
      return
  assert done.returncode == 0, done.stderr[-3000:]


def test_the_python_of_the_readme_runs():
  code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  assert code
  for snippet in code:
    done = programs.run(["-c", snippet])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "124439808" in done.stdout


def test_every_path_that_the_readme_names_exists():
  paths = re.findall(r"(?:configs|experiments|scripts|results)/[\w/]+(?:\.\w+)+", README)
  assert len(paths) > 10
  for path in paths:
    assert (ROOT / path).exists(), path


def test_ci_does_what_the_readme_says():
  assert "uv run pytest" in (ROOT / ".ci/run").read_text()
