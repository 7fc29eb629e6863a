import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from configs import chinchilla
from gen.config import Data, Run, config_hash, to_dict
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.interop import huggingface, runs, tokenizers
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import run_folder
from gen.training.step import saved_state
from tests import programs

SCRIPTS = Path(__file__).parents[2] / "scripts"
FIXTURES = Path(__file__).parents[1] / "interop" / "fixtures"


def run(script, *arguments):
  return programs.run([SCRIPTS / script, *arguments])


def test_a_checkpoint_becomes_a_run_and_a_checkpoint_again(tmp_path):
  source, workdir, output = FIXTURES / "t5-lm", tmp_path / "run", tmp_path / "out"
  done = run("import_checkpoint.py", f"--source={source}", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert "encoder_decoder, width 10" in done.stdout
  done = run("export_checkpoint.py", f"--workdir={workdir}", f"--output={output}")
  assert done.returncode == 0, done.stderr
  assert "T5ForConditionalGeneration" in done.stdout
  before, after = load_file(source / "model.safetensors"), load_file(output / "model.safetensors")
  assert before.keys() == after.keys()
  assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_class_without_a_head_stays_without(tmp_path):
  runs.import_checkpoint(FIXTURES / "gpt2", tmp_path / "run")
  model = runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  assert model.hf["architectures"] == ["GPT2Model"] and model.hf["scale_attn_weights"] is False


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path):
  for script, arguments, says in (
    ("import_checkpoint.py", (), "--source is not given"),
    (
      "import_checkpoint.py",
      (f"--source={tmp_path / 'no'}", f"--workdir={tmp_path / 'x'}"),
      "no is not a folder",
    ),
    ("export_checkpoint.py", (f"--workdir={tmp_path}", f"--output={tmp_path / 'y'}"), "has no config.json"),
  ):
    done = run(script, *arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and done.stderr.count("\n") == 1


def save_run(workdir, model):
  """Writes the folder of a run of bytes with random parameters."""
  run = Run(name="decoder", model=model, data=Data(tokenizer="bytes", length=model.context), steps=1)
  rng = np.random.default_rng(2)
  state = saved_state(run.model, run.optimizer, run.data.batch)
  drawn = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), state.params)
  state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
  state = state._replace(params=drawn, key=np.asarray(jax.random.key_data(jax.random.key(0))))
  meta = {"config": to_dict(run), "run": config_hash(run), "tokenizer": ByteTokenizer().hash}
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save(0, jax.tree.map(jnp.asarray, state), meta)
  (workdir / "config.json").write_bytes(run_folder.config_text(run))
  return drawn


def test_a_decoder_of_the_default_sweep_is_exported_with_its_tokenizer(tmp_path):
  model = dataclasses.replace(chinchilla.get_config().model, width=20, feed_forward=14, vocab=260, context=9)
  params = save_run(tmp_path / "run", model)
  exported = runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  assert exported.hf["architectures"] == ["ApertusForCausalLM"] and "RMSNorm" in exported.notes[0]
  hf = json.loads((tmp_path / "out" / "config.json").read_text())
  assert (hf["bos_token_id"], hf["eos_token_id"], hf["pad_token_id"]) == (3, 1, 0)
  tokenizer = tokenizers.load_tokenizer(tmp_path / "out")
  ids = tokenizer.encode_for_model("a text")[None]
  found = huggingface.forward_pass(*huggingface.load_checkpoint(tmp_path / "out"), ids)
  np.testing.assert_allclose(found, huggingface.forward_pass(model, params, ids), atol=1e-4, rtol=1e-5)
