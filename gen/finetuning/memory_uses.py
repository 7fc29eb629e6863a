"""What decoding and fine-tuning a preset take in memory, as records and lines: `experiments/memory.py --use=...`."""

import dataclasses

from gen import presets
from gen.config import Model
from gen.config.heads import HeadConfig
from gen.finetuning import tuning_memory
from gen.finetuning.settings import FinetuneSettings
from gen.quantization import quantized_memory
from gen.quantization.model_scheme import ModelScheme

# Bytes of a mebibyte, the unit of the report.
MIB = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class UseReport:
  """Bytes of one use of a model on one device; activations are extra.

  Attributes:
    preset: name of the model.
    use: decode | finetune.
    how: formats or method, in words.
    parts: bytes by name.
    total_bytes: their sum.
  """

  preset: str
  use: str
  how: str
  parts: dict[str, int]
  total_bytes: int


def report_decoding(
  name: str, scheme: ModelScheme | None, cache: str, rows: int, length: int, precision: str
) -> UseReport:
  """Returns what decoding with a preset holds between two tokens.

  Args:
    name: of the preset.
    scheme: of the weights; None keeps float32.
    cache: float | int8, of keys and values.
    rows: texts at a time; 0 is one.
    length: positions of each; 0 is the preset's.
    precision: of compute: mixed | float32 | float16 | bfloat16; float keys and values have its type.

  Raises:
    UserError: for an unknown preset, or a group that does not divide.
  """
  length = length or presets.get_length(name)
  model = _model(name, precision, length)
  model = dataclasses.replace(model, cache_format=cache)
  source = length if model.family == "encoder_decoder" else 0
  found = quantized_memory.decoding_footprint(model, scheme, max(1, rows), length, source)
  weights = "float32" if scheme is None else scheme.weights.format
  how = f"weights {weights}, cache {cache}, {max(1, rows)} rows of {length}"
  return UseReport(name, "decode", how, found._asdict(), found.total)


def report_finetuning(name: str, settings: FinetuneSettings, precision: str) -> UseReport:
  """Returns what fine-tuning a preset as a language model holds while a step runs, without activations.

  Args:
    name: of the preset.
    settings: method, rank, targets and base_format.
    precision: of compute.

  Raises:
    UserError: for an unknown preset, a method that it does not have, or settings that do not go together.
  """
  settings.check()
  found = tuning_memory.tuning_footprint(
    _model(name, precision, presets.get_length(name)), HeadConfig("none"), settings
  )
  base = f", base in {settings.base_format}" if settings.base_format else ""
  rank = f", rank {settings.rank}" if settings.method_name == "lora" else ""
  return UseReport(name, "finetune", f"{settings.method}{rank}{base}", found._asdict(), found.state)


def _model(name: str, precision: str, length: int) -> Model:
  model = presets.get_model(name)
  dtype = precision if precision in ("float32", "float16") else "bfloat16"
  return dataclasses.replace(model, dtype=dtype, context=max(model.context, length))


def use_lines(report: UseReport) -> list[str]:
  """Returns the lines of a report, in MiB."""
  return [
    f"{report.preset}, {report.use}: {report.how}; MiB on one device",
    *(f"  {name.replace('_', ' '):<22}{size / MIB:14,.1f}" for name, size in report.parts.items()),
    f"  {'in all':<22}{report.total_bytes / MIB:14,.1f}   activations are extra",
  ]
