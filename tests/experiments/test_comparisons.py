"""Commands that compare texts at equal FLOPs: mistakes are one sentence, tiny studies run to their end."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {
  "law": "licensee shall warrant hereunder the software and any liability whereof is limited to that",
  "prose": "rivers ran under the old stone bridges and children sang with winter birds to be home",
  "junk": "$$$ ### ||| 0x00 >>> *** %%% &&& === +++",
}
SWEEP = [
  "--config.sweep.budgets=(3e7,6e7)", "--config.sweep.widths=((8,),(8,))", "--config.sweep.seeds=(2,2)",
  "--config.sweep.model.depth=1", "--config.sweep.model.head_width=4", "--config.sweep.data.length=16",
  "--config.sweep.data.batch=2", "--config.sweep.data.validation_tokens=200", "--config.sweep.workers=1",
  "--config.held_out_bytes=2000", "--config.sweep.data.validation_fraction=0.3",
]  # fmt: skip


def write_texts(path, *kinds, documents=60):
  chosen = random.Random(path.name)
  with path.open("w") as file:
    for number in range(documents):
      lines = [" ".join(chosen.choices(WORDS[kinds[number % len(kinds)]].split(), k=11)) for _ in range(6)]
      file.write(json.dumps({"text": "\n".join(lines)}) + "\n")
  return path


def command(script, *flags, cache=""):
  environment = (
    os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"} | ({"GEN_CACHE": str(cache)} if cache else {})
  )
  return subprocess.run(
    [sys.executable, f"experiments/{script}.py", *flags], cwd=ROOT, env=environment, capture_output=True, text=True
  )  # fmt: skip


@pytest.mark.parametrize(
  ("script", "flags", "sentence"),
  [
    ("adapt_domain", ["--general=manual"], "--domain is not given"),
    ("adapt_domain", ["--domain=law", "--general=law"], "are both 'law'; name two different corpora"),
    ("adapt_domain", ["--domain=law", "--general=manual", "--config.replays=(2,)"], "must be in [0, 1)"),
    ("adapt_domain", ["--domain=law", "--general=manual", "--config.task_examples=0"], "task_examples is 0"),
    ("adapt_domain", ["--domain=law", "--general=manual", "--task=none.csv"], "none.csv"),
    ("curation", ["--judge=law"], "--source is not given"),
    ("curation", ["--source=raw.jsonl"], "--judge is not given"),
    ("curation", ["--source=raw.jsonl", "--judge=law", "--config.after=magic"], "config.after holds 'magic'"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(script, flags, sentence, tmp_path):
  done = command(script, *flags, f"--workdir={tmp_path / 'work'}")
  assert done.returncode == 2 and sentence in done.stderr and not done.stdout
  assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_tiny_domain_is_compared_and_a_second_call_trains_nothing(tmp_path):
  texts = [write_texts(tmp_path / f"{kind}.jsonl", kind) for kind in ("law", "prose")]
  words = [f"--domain={texts[0]}", f"--general={texts[1]}", f"--workdir={tmp_path / 'work'}", *SWEEP]
  labelled = tmp_path / "labelled.csv"
  chosen = random.Random(7)
  rows = [
    (kind, " ".join(chosen.choices(WORDS[kind].split(), k=6))) for kind in ("law", "prose") for _ in range(90)
  ]
  labelled.write_text("text,label\n" + "".join(f"{text},{kind}\n" for kind, text in rows))
  words += ["--config.sweep.data.vocab=300", "--config.replays=(0.3,)", f"--task={labelled}"]
  words += ["--config.task_examples=60"]
  done = command("adapt_domain", *words, cache=tmp_path / "cache")
  assert done.returncode == 0, done.stderr[-3000:]
  assert "For this domain" in done.stdout and (tmp_path / "work" / "adapt_domain.png").exists()
  again = command("adapt_domain", *words, "--json=-", cache=tmp_path / "cache")
  results = json.loads(again.stdout)
  assert "runs done" not in again.stderr and {arm["arm"] for arm in results["arms"]} >= {
    "adapted_30",
    "scratch_own",
  }
  task = results["task"]
  assert {arm["arm"] for arm in task["arms"]} == {"general", "adapted_30", "scratch", "scratch_own", "tfidf"}
  assert (
    task["examples"] == 60 and all(len(arm["scores"]) == 2 for arm in task["arms"]) and not task["failed"]
  )
  for arm in results["arms"]:
    assert all(abs(run["flops"] - arm["budget"]) <= run["step_flops"] / 2 for run in arm["runs"])


@pytest.mark.slow
def test_a_tiny_curation_is_judged(tmp_path):
  raw = write_texts(tmp_path / "raw.jsonl", "prose", "junk", "junk")
  judge = write_texts(tmp_path / "judge.jsonl", "prose")
  words = [f"--source={raw}", f"--judge={judge}", f"--workdir={tmp_path / 'work'}", *SWEEP]
  words += ["--config.curation.stages=gopher_quality", "--config.repetitions=(2,6)"]
  done = command("curation", *words, "--json=-", cache=tmp_path / "cache")
  assert done.returncode == 0, done.stderr[-3000:]
  results = json.loads(done.stdout)
  assert [stage["stage"] for stage in results["stages"]] == ["raw", "gopher_quality"]
  assert len(results["verdicts"]) == 2 and (tmp_path / "work" / "curation.pdf").exists()
