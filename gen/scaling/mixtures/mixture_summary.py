"""A study of a mixture's weights as lines for the terminal, and as a figure."""

from pathlib import Path

from gen.figures import style
from gen.scaling.mixtures.mixture_study import MixtureCheck, MixtureStudy

NAME = "mixture"


def study_lines(study: MixtureStudy, confidence: float) -> list[str]:
  """Returns the runs, the law's quality, and the proposed weights.

  Args:
    study: losses are in nats.
    confidence: coverage of its intervals.
  """
  fit, names = study.fit, study.corpora
  lines = [f"loss on {study.target}, nats per token, at weights of {', '.join(names)}:"]
  for run in sorted(study.runs, key=lambda run: run.loss):
    lines.append(f"  {' '.join(f'{weight:5.3f}' for weight in run.weights)}  {run.loss:.4f}  seed {run.seed}")
  errors = ", ".join(f"{terms}: {error:.4f}" for terms, error in fit.left_out_error.items())
  lines += [
    "",
    f"law of {fit.terms} term{'s' if fit.terms > 1 else ''}, chosen by the error of runs left out (by number of terms"
    f" {errors}); scatter {fit.scatter:.4f}, rank correlation {fit.rank_correlation:.2f}",
    f"proposed weights, with {confidence:.0%} intervals:",
  ]
  for index, (name, weight) in enumerate(zip(names, study.proposed, strict=True)):
    interval = f"  [{fit.intervals[index][0]:.3f}, {fit.intervals[index][1]:.3f}]" if fit.intervals else ""
    lines.append(f"  {name} {weight:.3f}{interval}")
  interval = f" [{fit.gain_interval[0]:.4f}, {fit.gain_interval[1]:.4f}]" if fit.gain_interval else ""
  lines.append(f"predicted gain over equal weights: {fit.gain:.4f}{interval} nats")
  lines.append(f"  --config.data.mixture='{study.mixture}'")
  return lines


def check_line(check: MixtureCheck) -> str:
  """Returns one line on the check of a proposal."""
  error = "one seed, so without an error" if check.error is None else f"standard error {check.error:.4f}"
  outcome = "better" if check.better else "NOT better"
  return (
    f"checked in runs the law did not see: {check.proposed:.4f} at the proposed weights, {check.equal:.4f} at equal"
    f" ones; gain {check.gain:.4f} nats ({error}): the proposal is {outcome}"
  )


def draw_study(folder: Path, study: MixtureStudy) -> list[Path]:
  """Draws predicted against measured losses, and the proposed weights; returns the files.

  Args:
    folder: of the files.
    study: a fitted study.
  """
  fit = study.fit
  measured = [run.loss for run in study.runs]
  with style.paper_style():
    figure, (fitted, weights) = style.new_figure(style.PAGE, 2.8, 2)
    ends = [min(*measured, *fit.left_out), max(*measured, *fit.left_out)]
    fitted.plot(ends, ends, color=style.MUTED, linewidth=0.8, linestyle=":")
    fitted.plot(measured, fit.left_out, "o", markersize=3.5, color="#0072b2")
    fitted.set_xlabel(f"measured loss on {style.escape_mathtext(study.target)}, nats per token")
    fitted.set_ylabel("predicted without the run")
    fitted.set_title("Law of the mixture")
    places = range(len(study.corpora))
    if fit.intervals:
      weights.hlines(places, *zip(*fit.intervals, strict=True), color="#d1495b", linewidth=1.2)
    weights.plot(fit.weights, places, "o", color="#d1495b", markersize=4)
    weights.axvline(1 / len(study.corpora), color=style.MUTED, linewidth=0.8, linestyle=":")
    weights.set_yticks(list(places), [style.escape_mathtext(name) for name in study.corpora])
    weights.set_xlim(-0.03, 1.03)
    weights.invert_yaxis()
    weights.set_xlabel("weight; dotted: equal weights")
    weights.set_title("Proposed weights")
    return style.save_figure(figure, folder, NAME)
