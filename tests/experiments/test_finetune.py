"""The fine-tuning command: forms of each family, a sweep, what it writes, and what opens its folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gen
from gen.finetuning import finetune, sweeps
from gen.finetuning.settings import FinetuneSettings
from gen.generation import loaded_model
from gen.interop import runs
from tests import programs
from tests.finetuning.conftest import DATA, write_run

ROOT = Path(__file__).parents[2]
FEW = (
  "--batch=8",
  "--epochs=1",
  "--prompted_examples=4",
  "--few_shot=1",
  "--max_shapes=1",
  "--development_examples=6",
)


def run_program(name, *arguments, code=0):
  done = programs.run([name, *arguments])
  assert done.returncode == code, done.stderr[-3000:]
  return done


def run_finetune(*arguments, code=0):
  return run_program("experiments/finetune.py", *arguments, code=code)


def write_data(folder, task):
  """Writes the examples of a task in the parts that it has; returns their folder."""
  parts = {"train": DATA[task].train, "validation": DATA[task].development, "test": DATA[task].test}
  fields = {"classify": ("text", "label"), "translate": ("source", "target")}[task]
  folder.mkdir()
  for name, examples in parts.items():
    rows = [{field: getattr(example, field) for field in fields} for example in examples]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  return folder


def test_an_encoder_is_fine_tuned_exported_and_asked(tmp_path):
  encoder = write_run(tmp_path / "encoder", "encoder", bias=True, norm_bias=True, positions="learned", tied=True,
                      norm_placement="post", embedding_norm=True, head_transform=True, head_bias=True, token_types=2,
                      activation="gelu")  # fmt: skip
  data, workdir = write_data(tmp_path / "data", "classify"), tmp_path / "topics"
  arguments = (f"--start_from={encoder}", f"--data={data}", "--task=classify", f"--workdir={workdir}", *FEW)
  report = json.loads(run_finetune(*arguments, "--json=-").stdout)
  assert report["form"] == "head" and report["examples"] == {"train": 48, "development": 12, "test": 13}
  assert "a blank filled" in report["prompted_note"] and 0 <= report["prompted"]["0"]["value"] <= 1
  page = (workdir / "finetune.html").read_text()
  assert "Confusion matrix" in page and "http" not in page.split("</style>")[1].split("<script>")[0]
  assert "is finished already" in run_finetune(*arguments).stderr
  run_program("scripts/export_checkpoint.py", f"--workdir={workdir}", f"--output={tmp_path / 'exported'}")
  config = json.loads((tmp_path / "exported" / "config.json").read_text())
  assert config["architectures"] == ["BertForSequenceClassification"]
  assert config["id2label"] == {"0": "other", "1": "tree"}
  said = run_program("experiments/generate.py", f"--checkpoint={workdir}", "--prompt=a", code=2).stderr
  assert "without a language-model head" in said


def test_an_encoder_decoder_writes_and_a_sweep_keeps_what_is_done(tmp_path):
  start = write_run(tmp_path / "start", "encoder_decoder")
  data, workdir = write_data(tmp_path / "data", "translate"), tmp_path / "sweep"
  arguments = (
    f"--start_from={start}", f"--data={data}", "--task=translate", f"--workdir={workdir}", *FEW, "--max_answer=4",
    "--learning_rates=1e-3,1e-2", "--workers=1",
  )  # fmt: skip
  done = run_finetune(*arguments, f"--json={tmp_path / 'sweep.json'}")
  report = json.loads((tmp_path / "sweep.json").read_text())
  assert [row["name"] for row in report["rows"]] == ["rate_0.001_seed_0", "rate_0.01_seed_0"]
  assert report["mean"]["by_seed"] == [
    row["score"] for row in report["rows"] if row["learning_rate"] == report["best"]
  ]
  assert report["best"] in (1e-3, 1e-2) and "the best rate on the development part" in done.stdout
  assert "2 members of the sweep, 2 of them done" in run_finetune(*arguments).stderr
  run_program(
    "experiments/generate.py", f"--checkpoint={report['folder']}", "--prompt=translate: ash", "--max_tokens=3"
  )
  said = run_finetune(
    *arguments[:2], "--task=translate", f"--workdir={workdir}", *FEW, "--seeds=2", code=2
  ).stderr
  assert "holds another sweep (max_answer: 4 -> 0)" in said


def test_a_decoder_learns_dialogues_and_answers_by_the_same_template(tmp_path):
  decoder = write_run(tmp_path / "decoder", "decoder", context=120)
  rows = [
    {"messages": [{"role": "user", "content": e.text}, {"role": "assistant", "content": e.label}]}
    for part in ("train", "development", "test")
    for e in getattr(DATA["classify"], part)
  ]
  (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  workdir = tmp_path / "chat"
  arguments = (
    f"--start_from={decoder}",
    f"--data={tmp_path / 'chat.jsonl'}",
    "--task=instruct",
    "--max_answer=8",
  )
  run_finetune(*arguments, f"--workdir={workdir}", *FEW)
  assert (workdir / "chat_template.jinja").is_file()
  assert json.loads((workdir / "predictions.jsonl").read_text().splitlines()[0])["input"][0]["role"] == "user"
  run_program(
    "experiments/generate.py", f"--checkpoint={workdir}", "--chat", "--prompt=ash", "--max_tokens=3"
  )
  # Lines of standard input are messages of one dialogue; its end ends the program.
  command = [ROOT / "experiments/generate.py", f"--checkpoint={workdir}", "--chat", "--max_tokens=3"]
  done = subprocess.run(
    [sys.executable, *command], input="ash\nelm\n", capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0 and len(done.stdout.splitlines()) >= 2, done.stderr[-3000:]


@pytest.mark.parametrize(
  ("family", "preset", "task", "method"),
  [
    ("encoder", "bert-base", "tag", "full"),
    ("decoder", "gpt2", "classify", "lora"),
    ("encoder_decoder", "t5-small", "translate", "last:1"),
  ],
)
def test_a_hugging_face_folder_becomes_a_run_that_exports_and_predicts(
  tmp_path, family, preset, task, method
):
  scale = {"logits_scale": 20**-0.5} if preset == "t5-small" else {}  # which T5 derives from its width
  run = write_run(tmp_path / "run", family, preset, **scale)
  runs.export_checkpoint(run, tmp_path / "start")
  settings = FinetuneSettings(
    task, str(tmp_path / "start"), "made here", method=method, rank=2, batch=8, steps=2, max_shapes=1, few_shot=0,
    prompted_examples=0, max_answer=3, development_examples=4,
  )  # fmt: skip
  said = []
  result = finetune.finetune_model(settings, tmp_path / "tuned", data=DATA[task], report=said.append)
  assert result.family == family and 0 < result.trained_parameters <= result.parameters
  assert loaded_model.load_model(tmp_path / "tuned").reading.head == (task == "translate")
  exported = runs.export_checkpoint(tmp_path / "tuned", tmp_path / "exported")
  names = {"tag": "BertForTokenClassification", "classify": "GPT2ForSequenceClassification"}
  assert exported.hf["architectures"] == [names.get(task, "T5ForConditionalGeneration")]
  assert (tmp_path / "tuned/adapters/adapter_model.safetensors").is_file() == (method == "lora"), said
  inputs = {"tag": [["ash", "sun"]], "classify": ["ash sun"], "translate": ["ash sun"]}[task]
  (answer,) = gen.predict(tmp_path / "tuned", inputs)
  assert len(answer) == 2 if task == "tag" else isinstance(answer, str)


@pytest.mark.parametrize(
  ("flags", "sentence"),
  [
    ((), "--task is missing"),
    (("--task=tag",), "start_from is missing"),
    (("--task=tag", "--start_from=nowhere", "--data=nowhere.csv"), "nowhere"),
    (("--task=tag", "--columns=text"), "write NAME=COLUMN"),
    (
      ("--task=classify", "--start_from=a", "--data=b", "--method=some"),
      "must be full, head, last:N or lora",
    ),
  ],
)
def test_mistakes_are_one_sentence(tmp_path, flags, sentence):
  done = run_finetune(*flags, f"--workdir={tmp_path / 'run'}", code=2)
  assert sentence in done.stderr and "Traceback" not in done.stderr


def test_names_of_a_sweep_are_those_of_its_folders():
  assert sweeps.sweep_name(3e-5, 2) == "rate_3e-05_seed_2"
