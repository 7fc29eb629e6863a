"""Files of a checkpoint that somebody else wrote are not trusted: one sentence each, soon, with little memory."""

import json
import os
import resource
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen.errors import UserError
from gen.interop import generation_config, huggingface
from gen.interop.tensor_files import INDEX, SINGLE
from tests import mutations

FIXTURES = Path(__file__).parent / "fixtures"
SECONDS = 5.0  # for any file, on a machine that does other things


def copied(name, made):
  """Returns the folder of a fixture's copy with all tensors in one file."""
  made.mkdir()
  shutil.copyfile(FIXTURES / name / "config.json", made / "config.json")
  shards = sorted((FIXTURES / name).glob("model*.safetensors"))
  save_file({key: value for shard in shards for key, value in load_file(shard).items()}, made / SINGLE)
  return made


@pytest.fixture
def folder(tmp_path):
  return copied("gpt2-lm", tmp_path / "model")


def parts(path):
  """Returns the header of a safetensors file and its bytes."""
  content = path.read_bytes()
  length = int.from_bytes(content[:8], "little")
  return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path, header, data):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def refused(folder):
  begin = time.monotonic()
  with pytest.raises(UserError) as caught:
    huggingface.load_checkpoint(folder)
  assert time.monotonic() - begin < SECONDS
  message = str(caught.value)
  assert "\n" not in message and len(message) < 600
  return message


def edited(folder, **entry):
  """Writes the file with the entry of its first tensor changed."""
  header, data = parts(folder / SINGLE)
  name = next(name for name in header if name != "__metadata__")
  header[name] |= entry
  write(folder / SINGLE, header, data)


@pytest.mark.parametrize(
  "entry",
  [
    {"data_offsets": [-4, 0]},
    {"data_offsets": [0, 10**30]},
    {"data_offsets": [0.0, 4.0]},
    {"data_offsets": [4, 0]},
    {"data_offsets": [0]},
    {"data_offsets": None},
    {"data_offsets": [True, 4]},
    {"shape": [-1, -4]},
    {"shape": [2**62, 2**62]},
    {"shape": [1] * 10_000},
    {"shape": "12"},
    {"shape": [0.5]},
    {"dtype": 7},
    {"dtype": "F64"},
    {"dtype": ["F32"]},
  ],
)
def test_an_entry_that_cannot_be_is_refused(folder, entry):
  edited(folder, **entry)
  assert "model.safetensors is damaged" in refused(folder)


def test_bytes_that_two_tensors_claim_or_none_are_refused(folder):
  header, data = parts(folder / SINGLE)
  small = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
  write(folder / SINGLE, header | {"more": small}, data)
  assert "overlap" in refused(folder)
  write(folder / SINGLE, header, data + b"1234")
  assert "4 bytes at its end belong to no tensor" in refused(folder)
  behind = small | {"data_offsets": [len(data) + 8, len(data) + 12]}
  write(folder / SINGLE, header | {"more": behind}, data + bytes(12))
  assert "leave a gap" in refused(folder)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "does not fit"),
    (b"\xff" * 8 + b"{}", "does not fit"),
    (struct.pack("<Q", 2**63) + b"{}", "does not fit"),
    (struct.pack("<Q", 100_000) + b"[" * 100_000, "nested too deeply"),
    (struct.pack("<Q", 600_000) + b'{"a":' * 120_000, "nested too deeply"),
    (struct.pack("<Q", 2) + b"[]", "holds a list"),
    (struct.pack("<Q", 4) + "{}".encode("utf-16-le"), "not valid JSON"),
    (struct.pack("<Q", 2) + b"\xff\xff", "not UTF-8"),
    (struct.pack("<Q", 7) + b'{"a":1}', "describes 'a' by a whole number"),
    (struct.pack("<Q", 20) + b'{"__metadata__":[1]}', "__metadata__"),
    (struct.pack("<Q", 15) + b'{"a":{},"a":{}}', "'a' occurs twice"),
  ],
)
def test_a_header_that_is_none_is_refused(folder, content, message):
  (folder / SINGLE).write_bytes(content)
  assert message in refused(folder)


def test_a_header_that_would_take_gigabytes_is_not_read(folder):
  with (folder / SINGLE).open("wb") as file:
    file.write(struct.pack("<Q", 2**31))
    file.truncate(2**31 + 16)  # a sparse file
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert "are not read" in refused(folder)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


@pytest.mark.parametrize(
  "name",
  [
    "../x.safetensors",
    "/etc/passwd",
    "/etc/x.safetensors",
    "a/b.safetensors",
    "..",
    "",
    "a\\b.safetensors",
    7,
  ],
)
def test_an_index_names_files_beside_it(folder, name):
  (folder / SINGLE).rename(folder.parent / "x.safetensors")
  (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
  assert INDEX in refused(folder)


@pytest.mark.parametrize(
  "content",
  ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": null}}', "[" * 99_999],
)
def test_an_index_that_is_none_is_refused(folder, content):
  (folder / SINGLE).rename(folder / "a.safetensors")
  (folder / INDEX).write_text(content)
  assert INDEX in refused(folder)


def test_an_index_and_its_files_agree(folder):
  header, _ = parts(folder / SINGLE)
  (folder / SINGLE).rename(folder / "a.safetensors")
  placed = dict.fromkeys((name for name in header if name != "__metadata__"), "a.safetensors")
  (folder / INDEX).write_text(json.dumps({"weight_map": placed}))
  huggingface.load_checkpoint(folder)
  (folder / INDEX).write_text(json.dumps({"weight_map": placed | {"more": "a.safetensors"}}))
  assert "has no tensor 'more'" in refused(folder)
  (folder / INDEX).write_text(json.dumps({"weight_map": placed | {"more": "b.safetensors"}}))
  assert "lacks the file b.safetensors" in refused(folder)
  (folder / INDEX).unlink()
  shutil.copyfile(folder / "a.safetensors", folder / "b.safetensors")
  assert "is in a.safetensors and in b.safetensors" in refused(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt", "tf_model.h5"])
def test_another_format_is_refused_with_what_converts_it(folder, name):
  (folder / SINGLE).rename(folder / name)
  message = refused(folder)
  assert name in message and "GPT2LMHeadModel.from_pretrained(" in message and "save_pretrained" in message


@pytest.mark.parametrize("name", [SINGLE, "config.json"])
def test_a_pipe_is_not_waited_for(folder, name):
  (folder / name).unlink()
  os.mkfifo(folder / name)
  assert "not a file" in refused(folder)


@pytest.mark.parametrize(
  "values",
  [
    {"n_embd": 10**12},
    {"n_embd": 2**30, "n_head": 2**15},
    {"n_layer": 10**9},
    {"vocab_size": 2**31 - 1},
    {"n_positions": 10**9},
    {"n_inner": 10**400},
    {"layer_norm_epsilon": float("inf")},
    {"layer_norm_epsilon": float("nan")},
    {"activation_function": {"a": []}},
    {"activation_function": "x" * 5000},
    {"model_type": ["gpt2"]},
    {"model_type": "x" * 5000},
    {"architectures": [7]},
    {"architectures": {"a": 1}},
    {"resid_pdrop": -1.0},
  ],
)
def test_a_config_of_absurd_sizes_or_types_is_refused_before_anything_is_made(folder, values):
  path = folder / "config.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | values))
  assert "config.json" in refused(folder)


def test_wrappers_are_taken_off_the_names_of_tensors(folder, tmp_path):
  model, params = huggingface.load_checkpoint(folder)
  header, data = parts(folder / SINGLE)
  clean = {stored.name for stored in model.tensors}
  for rename in (
    lambda name: f"_orig_mod.{name}",
    lambda name: f"module.{name}",
    lambda name: f"module._orig_mod.module.{name}",
    lambda name: f"model.{name}",
    lambda name: f"model._orig_mod.model.{name}",
    lambda name: name.replace(".h.0.", ".h.0._orig_mod."),
  ):
    renamed = {rename(name) if name != "__metadata__" else name: entry for name, entry in header.items()}
    write(folder / SINGLE, renamed, data)
    other, same = huggingface.load_checkpoint(folder)
    assert {stored.name for stored in other.tensors} == clean
    assert len(other.notes) == 1 and "which is removed" in other.notes[0] and model.notes == ()
    np.testing.assert_array_equal(params["embedding"]["embedding"], same["embedding"]["embedding"])
  huggingface.save_checkpoint(tmp_path / "saved", other, same)
  assert {name for name in parts(tmp_path / "saved" / SINGLE)[0] if name != "__metadata__"} == clean


def test_names_that_begin_with_model_are_barts_own(tmp_path):
  folder = copied("bart-lm", tmp_path / "bart")
  model, _ = huggingface.load_checkpoint(folder)
  assert model.notes == ()
  header, data = parts(folder / SINGLE)
  write(
    folder / SINGLE,
    {name if name[0] == "_" else f"model.{name}": entry for name, entry in header.items()},
    data,
  )
  other, _ = huggingface.load_checkpoint(folder)
  assert other.notes and [stored.name for stored in other.tensors] == [
    stored.name for stored in model.tensors
  ]


def damages(folder, rng):
  """Returns (name, file, bytes) for the files of a folder, damaged in every way, in random order."""
  found = [
    (name, file, content)
    for file in ("config.json", generation_config.NAME)
    for name, content in mutations.of((folder / file).read_bytes(), rng)
  ]
  header, data = parts(folder / SINGLE)
  whole = (folder / SINGLE).read_bytes()
  for name, changed in mutations.of_value(header, rng, 6):
    text = json.dumps(changed).encode()
    found.append((name, SINGLE, struct.pack("<Q", len(text)) + text + data))
  for _ in range(4):
    name, content = mutations.flipped(whole[: len(whole) - len(data)], rng)
    found.append((name, SINGLE, content + data))
  found.append(("cut", SINGLE, whole[: rng.randrange(len(whole))]))
  rng.shuffle(found)
  return found


def test_any_damage_is_one_sentence_or_none(fuzz, folder, tmp_path):
  (folder / generation_config.NAME).write_text(
    '{"eos_token_id": [0, 3], "bad_words_ids": [[1, 2]], "min_length": 3}'
  )
  for name, file, content in fuzz.cases(lambda rng: damages(folder, rng)):
    here = tmp_path / "damaged"
    shutil.copytree(folder, here)
    if content is None:
      (here / file).unlink()
    else:
      (here / file).write_bytes(content)
    begin = time.monotonic()
    try:
      model, _ = huggingface.load_checkpoint(here)
      generation_config.read_generation_config(here, model.values, model.config.vocab)
    except UserError as error:
      assert "\n" not in str(error) and len(str(error)) < 900, (name, file)
    except Exception as error:
      raise AssertionError(f"{file}: {name}: {error!r}") from error
    assert time.monotonic() - begin < SECONDS, (name, file)
    shutil.rmtree(here)
