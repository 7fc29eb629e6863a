"""The study of labelled examples as a command: its members are trained by workers, kept, and added to."""

import json

from tests.experiments.test_finetune import run_program, write_data
from tests.finetuning.conftest import write_run

FEW = ("--batch=8", "--steps=2", "--max_shapes=1", "--prompted_examples=3", "--seeds=1", "--workers=1")


def test_a_study_of_labels_keeps_what_is_done_and_takes_more(tmp_path):
  starts = [
    write_run(tmp_path / name, "decoder", width=width) for name, width in (("small", 10), ("large", 20))
  ]
  data, workdir = write_data(tmp_path / "data", "classify"), tmp_path / "study"
  arguments = ("--task=classify", f"--start_from={starts[1]}", f"--data={data}", f"--workdir={workdir}", *FEW)
  run_program("experiments/worth_of_labels.py", *arguments, "--methods=full,prompt,tfidf", "--counts=4,999")
  study = json.loads((workdir / "worth_of_labels.json").read_text())
  counts = {curve["method"]: [point["examples"] for point in curve["points"]] for curve in study["curves"]}
  assert counts["full"] == counts["tfidf"] == [4, 48] and counts["prompt"][0] == 0
  assert study["metric"] == "accuracy" and study["failed"] == {} and len(study["starts"]) == 1
  assert not (workdir / "full_48_seed_0/checkpoints").exists()
  done = run_program(
    "experiments/worth_of_labels.py",
    *arguments,
    "--methods=full,lora",
    "--counts=48",
    f"--starts={starts[0]}",
  )
  assert "3 members of the sweep, 1 of them done" in done.stderr
  assert [line.split()[-1] for line in done.stdout.splitlines() if "/small" in line] == [str(starts[0])]
  assert (workdir / "worth_of_labels.png").stat().st_size > 1_000


def test_mistakes_are_one_sentence_before_any_work(tmp_path):
  flags = ("--start_from=nowhere", f"--data={tmp_path}/a.csv", f"--workdir={tmp_path / 'study'}")
  for more, sentence in (((), "--task is missing"), (("--task=classify", "--methods=bayes"), "a.csv")):
    done = run_program("experiments/worth_of_labels.py", *flags, *more, code=2)
    assert sentence in done.stderr and "Traceback" not in done.stderr
