"""The report of `experiments/quantize.py`: bytes and error of each kernel, and loss and agreement before and after."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

from gen.quantization.comparison import GreedyAgreement, PairedDifference
from gen.quantization.model_quantization import KernelReport, QuantizedModel
from gen.quantization.model_scheme import ModelScheme


def scheme_words(scheme: ModelScheme) -> dict[str, Any]:
  """Returns the scheme as plain values."""
  return dataclasses.asdict(scheme)


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
  """A model before and after; what was not measured is None.

  Attributes:
    scheme: by which it was quantized.
    kernels: bytes and error of each.
    bytes_before: of all parameters in memory. A file on disk may be compressed, which is not counted.
    bytes_after: of the quantized ones.
    bytes_ratio: after / before.
    loss: nats per token.
    bits_per_byte: the same per byte of text.
    greedy_agreement: share of tokens that both models choose.
  """

  scheme: ModelScheme
  kernels: list[KernelReport]
  bytes_before: int
  bytes_after: int
  bytes_ratio: float
  loss: PairedDifference | None
  bits_per_byte: PairedDifference | None
  greedy_agreement: GreedyAgreement | None


def build_report(
  scheme: ModelScheme,
  made: QuantizedModel,
  compared: dict[str, PairedDifference] | None = None,
  agreement: GreedyAgreement | None = None,
) -> QuantizationReport:
  """Returns the report of a model before and after."""
  return QuantizationReport(
    scheme,
    made.reports,
    made.bytes_before,
    made.bytes_after,
    made.bytes_after / made.bytes_before,
    None if compared is None else compared["loss"],
    None if compared is None else compared["bits_per_byte"],
    agreement,
  )


def kernel_line(found: KernelReport) -> str:
  """Returns a line of the table of kernels."""
  # Known for GPTQ alone, since other methods do not gather second moments.
  results = f"{'-':>14}" if found.output_error is None else f"{found.output_error:14.4f}"
  return (
    f"{found.name:48} {found.format:7} {found.weights:>12,} {found.bytes_before:>13,} {found.bytes_after:>12,}"
    f" {found.error:13.4f}{results}"
  )


def print_kernels(say: Callable[[str], None]) -> Callable[[KernelReport], None]:
  """Returns what prints a line of the table of kernels; the first line is below the head of the table."""
  lines = itertools.count()

  def print_kernel(found: KernelReport) -> None:
    if next(lines) == 0:
      say(
        f"{'parameter':48} {'format':7} {'weights':>12} {'bytes before':>13} {'after':>12}"
        f" {'weight error':>13} {'output error':>13}"
      )
    say(kernel_line(found))

  return print_kernel


def summary_lines(report: QuantizationReport) -> list[str]:
  """Returns the lines below the table."""
  lines = [
    f"all parameters: {report.bytes_before:,} bytes before, {report.bytes_after:,} after"
    f" ({report.bytes_ratio:.3f})"
  ]
  for name, found, unit in (
    ("loss", report.loss, "nats per token"),
    ("bits per byte", report.bits_per_byte, "bits per byte"),
  ):
    if found:
      interval = f" [{found.low:+.4f}, {found.high:+.4f}] {unit}"
      lines.append(
        f"{name}: {found.before:.4f} before, {found.after:.4f} after; difference {found.difference:+.4f}"
        + (f" {unit} on one batch, so without an interval" if math.isnan(found.low) else interval)
      )
  greedy = report.greedy_agreement
  if greedy:
    interval = "" if math.isnan(greedy.low) else f" [{greedy.low:.3f}, {greedy.high:.3f}]"
    lines.append(f"greedy agreement: {greedy.share:.3f}{interval} of {greedy.tokens:,} {greedy.kind} tokens")
  return lines
