"""The experiment on a run that was trained a moment ago, from the shell."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from gen.config import Data, Model, Run
from gen.data import dataset
from gen.errors import UserError
from gen.generation import loaded_model
from gen.training import loop
from tests import programs

ROOT = Path(__file__).parents[2]


def command(*arguments):
  return programs.run(["experiments/attention_maps.py", *arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  folder = tmp_path_factory.mktemp("attention")
  text = "".join(json.dumps({"text": f"the cat {i} sat on mat {i * i}."}) + "\n" for i in range(60))
  (folder / "corpus.jsonl").write_text(text)
  run = Run(
    name="tiny",
    model=Model(family="encoder_decoder", width=8, depth=2, decoder_depth=1, head_width=4, positions="relative"),
    data=Data(
      corpus=f"jsonl:{folder / 'corpus.jsonl'}", cache=str(folder / "cache"), tokenizer="bpe", vocab=285,
      objective="span_corruption", length=12, batch=2, validation_tokens=64,
    ),
    steps=2,
  )  # fmt: skip
  loop.train_run(run, folder / "run", dataset.load_dataset(run.data))
  return folder / "run"


def test_maps_of_a_run_are_written_as_figures_page_and_numbers(trained):
  result = command(f"--run={trained}", "--text=the cat sat.", "--target=<mat>", f"--out={trained / 'maps'}")
  assert result.returncode == 0, result.stderr
  found = np.load(trained / "maps" / "attention.npz")
  assert found["source_lhts"].shape[:2] == (2, 2)
  assert found["cross_lhts"].shape == (1, 2, len(found["self_keys"]), len(found["source_keys"]))
  assert "".join(found["source_keys"]) == "<s>the␣cat␣sat.</s>"
  assert "".join(found["self_queries"]) == "<pad><mat>"
  names = {path.name for path in (trained / "maps").glob("*.png")}
  assert names == {
    "attention_source_layer_1.png", "attention_source_layer_2.png",
    "attention_self_layer_1.png", "attention_cross_layer_1.png",
  }  # fmt: skip
  page = (trained / "maps" / "attention.html").read_text()
  assert not re.search(r"https?://|<link|src=|@import|url\(", page)
  for one in json.loads(re.search(r"const data = (.*);\n", page).group(1)):
    weights = np.frombuffer(base64.b64decode(one["weights"]), "<u2") / 65535
    exact_lhts = found[f"{one['kind']}_lhts"]
    np.testing.assert_allclose(weights.reshape(exact_lhts.shape), exact_lhts, atol=1e-5)
    np.testing.assert_allclose(exact_lhts.sum(-1), 1, atol=1e-5)
    assert (one["layers"], one["heads"]) == exact_lhts.shape[:2]
    assert tuple(one["keys"]) == tuple(found[f"{one['kind']}_keys"])


def test_a_run_comes_back_with_its_parameters_and_its_tokenizer(trained):
  found = loaded_model.load_model(trained)
  assert found.tokenizer.kind == "bpe"
  assert found.reading.start == (found.tokenizer.pad,)
  assert found.params["embedding"]["embedding"].shape == (found.model.vocab, 8)
  assert found.where == "tiny, step 2"
  with pytest.raises(UserError, match="no checkpoint of step 7"):
    loaded_model.load_model(trained, 7)


@pytest.mark.parametrize("arguments", [(), ("--run=no/such/run",)])
def test_a_run_that_is_not_there_is_said_in_one_line(arguments):
  result = command(*arguments)
  assert result.returncode == 2
  assert "--workdir" in result.stderr
  assert "Traceback" not in result.stderr
