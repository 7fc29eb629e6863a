"""Weights of integers in the files of a Hugging Face checkpoint, in the format of compressed-tensors.

`quantization_config` of config.json says that products of `nn.Linear` have integer weights w = s q, with one scale for
each output or for each group of inputs. A product X then has, in place of X.weight,

    int-quantized     X.weight int8 [O, I]                     X.weight_scale [O, G]
    pack-quantized    X.weight_packed int32 [O, I bits / 32]   X.weight_scale [O, G]   X.weight_shape [2]

Packed levels are q + 2^(bits - 1), from the lowest bits of each word on. transformers opens both.

O outputs, I inputs, G groups of inputs.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from gen.errors import UserError
from gen.interop import tensor_files
from gen.interop.safetensors_header import DTYPES, TensorHeader
from gen.interop.tensor_files import PackedWeight, TensorListing
from gen.io import json_reading

FIELD, METHOD = "quantization_config", "compressed-tensors"
INT_FORMAT, PACK_FORMAT, MIXED_FORMAT = "int-quantized", "pack-quantized", "mixed-precision"
WEIGHT, SCALE, PACKED, SHAPE = ".weight", ".weight_scale", ".weight_packed", ".weight_shape"
# Bits whose codes fill words and bytes without a remainder; others are not read.
_BITS = (4, 8)


def read_integers(
  directory: Path, hf: Mapping[str, object], listed: TensorListing
) -> tuple[dict[str, object], TensorListing, tuple[str, ...]]:
  """Returns a checkpoint's config and tensors as if its weights were floating-point numbers, and notes.

  Args:
    directory: of the files.
    hf: config.json.
    listed: the tensors; those of integers become one float32 tensor each, which `unpack_blocks` reads.

  Raises:
    UserError: for a quantization of another method or form.
  """
  if hf.get(FIELD) is None:
    return dict(hf), listed, ()
  config = json_reading.require_kind(hf[FIELD], dict, f"config.json: {FIELD}")
  bits, rounds_activations = _read_groups(config)
  tensors, packed = dict(listed.tensors), dict(listed.packed)
  for name in listed.tensors:
    if name.endswith(SCALE):
      weight = _find_weight(directory, tensors, name.removesuffix(SCALE), bits)
      base = name.removesuffix(SCALE)
      for end in (SCALE, PACKED, SHAPE):
        tensors.pop(base + end, None)
      values = weight.values
      tensors[base + WEIGHT] = values._replace(name=base + WEIGHT, dtype="F32", shape=weight.shape)
      packed[values.file, values.begin] = weight
  if not packed:
    raise UserError(f"{directory} has no *{SCALE} tensor, although config.json has a {FIELD}")
  notes = [f"{len(packed)} weights are integers in the files; they are read as float32"]
  if rounds_activations:
    notes.append("its activations stay floating-point numbers; the files ask for int8")
  rest = {key: value for key, value in hf.items() if key != FIELD}
  return rest, listed._replace(tensors=tensors, packed=packed), tuple(notes)


def _read_groups(config: Mapping[str, object]) -> tuple[set[int], bool]:
  """Returns the numbers of bits of weights, and whether activations are rounded too."""
  where = f"config.json: {FIELD}"
  method = config.get("quant_method")
  if method != METHOD:
    raise UserError(f"{where} is of the method {str(method)[:40]!r}; the only one that is read is {METHOD}")
  known = (INT_FORMAT, PACK_FORMAT, MIXED_FORMAT)
  if config.get("format") not in known:
    raise UserError(
      f"{where} has the format {str(config.get('format'))[:40]!r}; known are {', '.join(known)}"
    )
  bits, activations = set(), False
  for name, group in json_reading.require_field(dict(config), "config_groups", dict, where).items():
    here = f"{where}: {str(name)[:40]}"
    json_reading.require_kind(group, dict, here)
    weights = json_reading.require_field(group, "weights", dict, here)
    count = json_reading.require_field(weights, "num_bits", int, f"{here}: weights")
    if (
      count not in _BITS or weights.get("type", "int") != "int" or weights.get("symmetric", True) is not True
    ):
      raise UserError(f"{here}: only symmetric integers of 4 or 8 bits are read; save the model as float32")
    bits.add(count)
    activations = activations or group.get("input_activations") is not None
  return bits, activations


def _find_weight(
  directory: Path, tensors: Mapping[str, TensorHeader], base: str, bits: set[int]
) -> PackedWeight:
  scales = tensors[base + SCALE]
  if base + PACKED in tensors and base + SHAPE in tensors:
    values, sizes = tensors[base + PACKED], tensors[base + SHAPE]
    if (values.dtype, len(values.shape), sizes.dtype, sizes.shape) != ("I32", 2, "I64", (2,)):
      raise UserError(f"{values.file}: {values.name} is not int32 [O, words] with a {SHAPE[1:]} of two int64")
    outputs, inputs = map(int, np.frombuffer(tensor_files.read_bytes(directory, sizes), "<i8"))
    fitting = [count for count in sorted(bits) if values.shape == (outputs, -(-inputs * count // 32))]
    if not fitting or inputs < 1:
      raise UserError(f"{values.file}: {values.name} has not the words of {outputs} x {inputs} levels")
    weight = PackedWeight(values, scales, (outputs, inputs), fitting[0], True)
  elif (
    base + WEIGHT in tensors
    and tensors[base + WEIGHT].dtype == "I8"
    and len(tensors[base + WEIGHT].shape) == 2
  ):
    values = tensors[base + WEIGHT]
    weight = PackedWeight(values, scales, (values.shape[0], values.shape[1]), 8, False)
  else:
    raise UserError(f"{scales.file}: {scales.name} has no integer weight of two axes beside it")
  shape = scales.shape if len(scales.shape) == 2 else (*scales.shape, 1)
  if (
    scales.dtype not in DTYPES
    or len(shape) != 2
    or shape[0] not in (1, weight.shape[0])
    or shape[1] < 1
    or weight.shape[1] % shape[1]
  ):
    raise UserError(
      f"{scales.file}: {scales.name} has the shape {list(scales.shape)}, which {list(weight.shape)} lacks"
    )
  return weight


def unpack_blocks(
  directory: Path, weight: PackedWeight, shape: tuple[int, ...]
) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields a weight of integers as float32, in another shape, as (rows, their elements): all of it at once."""
  outputs, inputs = weight.shape
  content = tensor_files.read_bytes(directory, weight.values)
  levels = (unpack_words(content, weight.shape, weight.bits) if weight.packed else
            np.frombuffer(content, np.int8).reshape(weight.shape))  # fmt: skip
  scales = np.frombuffer(tensor_files.read_bytes(directory, weight.scales), DTYPES[weight.scales.dtype])
  groups = weight.scales.shape[1] if len(weight.scales.shape) == 2 else 1
  scales_rg1 = scales.astype(np.float32).reshape(-1, groups, 1)
  weights = levels.astype(np.float32).reshape(outputs, groups, inputs // groups) * scales_rg1
  yield slice(0, shape[0]), weights.reshape(shape)


def pack_words(levels_oi: np.ndarray, bits: int) -> np.ndarray:
  """Returns levels as words of 32 bits, int32 [O, words]; a last word that is not full ends in zeros.

  >>> [hex(word) for word in pack_words(np.array([[-8, 7, 1]], np.int8), 4)[0]]
  ['0x9f0']
  """
  codes: np.ndarray = (levels_oi.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
  per_word = 32 // bits
  codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per_word)))
  if bits == 4:
    codes = codes[:, ::2] | (codes[:, 1::2] << 4)
  return np.ascontiguousarray(codes).view("<i4")


def unpack_words(content: bytes, shape: tuple[int, int], bits: int) -> np.ndarray:
  """Returns the levels int8 [O, I] of packed words, little endian."""
  codes = np.frombuffer(content, np.uint8).reshape(shape[0], -1)
  if bits == 4:
    codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(shape[0], -1)
  return (codes[:, : shape[1]].astype(np.int16) - (1 << (bits - 1))).astype(np.int8)
