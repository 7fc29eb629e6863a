"""The effect of sampling settings as tables for the terminal."""

from collections.abc import Sequence
from typing import Any


def report_lines(
  prompt: str,
  names: Sequence[str],
  after: Sequence[dict[str, Any]],
  texts: Sequence[dict[str, Any]],
  curve: Sequence[dict[str, Any]],
) -> list[str]:
  """Returns the table of the next token and the table of sampled texts.

  Args:
    prompt: the prompt of the next token.
    names: the shown tokens.
    after: distribution of the next token under each setting; entropy in nats.
    texts: statistics of the sampled texts under each setting.
    curve: the same at several temperatures; settings that `texts` has are left out.
  """
  lines = [f"after {prompt!r}", f"{'':>18}  {'entropy':>8}  {'kept':>6}  likeliest"]
  for row in after:
    best = sorted(zip(row["probabilities"], names, strict=True), reverse=True)[:3]
    likeliest = ", ".join(f"{name!r} {chance:.3f}" for chance, name in best if chance)
    lines.append(f"{row['setting']:>18}  {row['entropy']:>8.3f}  {row['kept']:>6,}  {likeliest}")
  lines += [
    "",
    f"{'texts':>18}  {'repeated runs of 4':>20}  {'different runs of 2':>20}  {'nats per token':>15}",
  ]
  settings = {row["setting"] for row in texts}
  for row in [*texts, *(row for row in curve if row["setting"] not in settings)]:
    repeated = f"{row['repetition']:.3f} ± {row['repetition_error']:.3f}"
    lines.append(f"{row['setting']:>18}  {repeated:>20}  {row['diversity']:>20.3f}  {row['nats']:>15.3f}")
  return lines
