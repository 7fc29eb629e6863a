"""Flags of memory accounts other than a training step's: decoding, fine-tuning, and the table by bits of a number."""

from pathlib import Path
from typing import Any

from absl import flags

from gen.errors import UserError
from gen.io import quantities

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.

TRAIN = "train"
# Flags that one use alone reads.
_READS = {"decode": ("weights", "cache"), "finetune": ("method", "base_format", "rank", "targets")}


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_enum("use", TRAIN, (TRAIN, "decode", "finetune"), "What the model is used for.")
  flags.DEFINE_boolean("by_bits", False, "With --params: the table of bytes by the bits of a number.")
  flags.DEFINE_enum(
    "weights",
    "float32",
    ("float32", "int8", "int4", "nf4"),
    "Decode: format of kernels; tables are int8 then.",
  )
  flags.DEFINE_enum("cache", "float", ("float", "int8"), "Decode: format of keys and values.")
  flags.DEFINE_string("method", "full", "Fine-tune: full, last:N or lora.")
  flags.DEFINE_enum(
    "base_format", "", ("", "int8", "int4", "nf4"), "Fine-tune: QLoRA's format of the frozen base."
  )
  quantities.DEFINE_integer("rank", 8, "Fine-tune: rank of LoRA's matrices.", 1, 4_096)
  flags.DEFINE_list("targets", [], "Fine-tune: matrices with adapters; empty: queries and values.")


def is_asked() -> bool:
  """Returns whether the command line asks for one of these accounts.

  Raises:
    UserError: for a flag of another use, which would be ignored.
  """
  values = flags.FLAGS
  for use, names in _READS.items():
    given = [name for name in names if values[name].present]
    if given and values.use != use:
      raise UserError(f"--{given[0]} is of --use={use}; give that too, or leave --{given[0]} out")
  return bool(flags.FLAGS.by_bits) or flags.FLAGS.use != TRAIN


def print_account(target: Path | None) -> int:
  """Prints and writes the account of the command line; returns the exit code.

  Args:
    target: of `--json`.

  Raises:
    UserError: for a flag that is missing, or a model, method or format that cannot be.
  """
  from gen.costs import bits_table
  from gen.finetuning import memory_uses
  from gen.io import json_report

  values: Any = flags.FLAGS
  report: Any
  if values.by_bits:
    if not values.params or values.use != TRAIN:
      raise UserError("--by_bits is the table for a number of parameters; give it with --params=NUMBER alone")
    report = bits_table.bits_rows(values.params)
    lines = bits_table.table_lines(values.params, report)
    if values.plot:
      bits_table.write_figure(values.params, report, values.plot)
  elif values.use == "finetune" and (values.batch or values.length or values.microbatches > 1):
    raise UserError(
      "--use=finetune counts the state, which has no rows; leave --batch, --length and --microbatches out"
    )
  elif not values.preset or values.plot or values.mesh or values.devices > 1:
    raise UserError(
      f"--use={values.use} counts a --preset on one device, without --plot; give --preset=NAME alone"
    )
  else:
    report = _report_use(values)
    lines = memory_uses.use_lines(report)
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(lines))
  json_report.write_report({"formats": report} if values.by_bits else report, target)
  return 0


def _report_use(values: Any) -> Any:
  from gen.finetuning import memory_uses
  from gen.finetuning.settings import FinetuneSettings
  from gen.quantization.model_scheme import parse_scheme

  if values.use == "decode":
    scheme = None if values.weights == "float32" else parse_scheme(values.weights, "none", "")
    return memory_uses.report_decoding(
      values.preset, scheme, values.cache, values.batch, values.length, values.precision
    )
  settings = FinetuneSettings(
    task="instruct", start_from=values.preset, data="-", method=values.method, rank=values.rank,
    targets=tuple(values.targets), base_format=values.base_format,
  )  # fmt: skip
  return memory_uses.report_finetuning(values.preset, settings, values.precision)
