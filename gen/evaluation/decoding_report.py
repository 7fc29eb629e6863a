"""The effect of sampling settings as tables for the terminal."""

from collections.abc import Sequence

from gen.evaluation.decoding import NextToken, SampledTexts


def report_lines(
  prompt: str,
  names: Sequence[str],
  after: Sequence[NextToken],
  texts: Sequence[SampledTexts],
  curve: Sequence[SampledTexts],
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
    best = sorted(zip(row.probabilities, names, strict=True), reverse=True)[:3]
    likeliest = ", ".join(f"{name!r} {chance:.3f}" for chance, name in best if chance)
    lines.append(f"{row.setting:>18}  {row.entropy:>8.3f}  {row.kept:>6,}  {likeliest}")
  lines += [
    "",
    f"{'texts':>18}  {'repeated runs of 4':>20}  {'different runs of 2':>20}  {'nats per token':>15}",
  ]
  settings = {sampled.setting for sampled in texts}
  for sampled in [*texts, *(sampled for sampled in curve if sampled.setting not in settings)]:
    repeated = f"{sampled.repetition:.3f} ± {sampled.repetition_error:.3f}"
    lines.append(f"{sampled.setting:>18}  {repeated:>20}  {sampled.diversity:>20.3f}  {sampled.nats:>15.3f}")
  return lines
