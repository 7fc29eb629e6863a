"""Traces some steps of a run with jax's profiler (https://docs.jax.dev/en/latest/profiling.html).

The trace goes into WORKDIR/profile, which TensorBoard's profile plugin, XProf and Perfetto read. Dispatches end at both
ends of the range, so that only its steps are traced. The dispatch of zero steps that compiles comes before them.
"""

from pathlib import Path
from types import TracebackType

import jax
from absl import logging

from gen.config.profile_steps import parse_profile
from gen.errors import UserError

FOLDER = "profile"  # in the folder of a run


class StepProfiler:
  """Traces the steps of a range; does nothing without one, or without a folder.

  Attributes:
    ends: steps done at which a dispatch has to end. They are equal in all processes of a run.
    tracing: whether a trace is under way.
  """

  def __init__(self, text: str, workdir: Path | None, steps: int) -> None:
    """Reads the range.

    Args:
      text: `profile` of the run.
      workdir: folder of the run; None in processes that do not write.
      steps: of the run.

    Raises:
      UserError: for an invalid range, or one beyond the end of the run.
    """
    steps_to_trace = parse_profile(text)
    self.tracing, self._range = False, steps_to_trace
    self._folder = None if workdir is None else workdir / FOLDER
    if steps_to_trace is None:
      self.ends: tuple[int, ...] = ()
      return
    first, last = steps_to_trace
    if last > steps:
      raise UserError(f"profile is {text!r}, but the run has {steps:,} steps; name steps from 1 to {steps:,}")
    # A dispatch runs several steps in one program, which a trace cannot enter or leave in between.
    self.ends = (first - 1, last)

  def before(self, done: int) -> None:
    """Starts the trace if the next dispatch begins with a step of the range.

    Raises:
      UserError: if the folder cannot be written, or another profiler runs.
    """
    if self._range is None or self._folder is None or self.tracing:
      return
    if self._range[0] - 1 <= done < self._range[1]:
      try:
        self._folder.mkdir(parents=True, exist_ok=True)
        jax.profiler.start_trace(self._folder)
      except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot trace into {self._folder}: {error}") from error
      self.tracing, self._began = True, done

  def after(self, done: int) -> None:
    """Writes the trace if its last step is done; results of the steps must have arrived."""
    if self.tracing and self._range is not None and done >= self._range[1]:
      self._write()
      logging.warning(
        "steps %d to %d are traced in %s; XProf, TensorBoard's profile plugin and Perfetto read it",
        *(self._began + 1, done, self._folder),
      )

  def _write(self) -> None:
    self.tracing = False
    try:
      jax.profiler.stop_trace()
    # A warning and no error: the run itself is unharmed, and a trace can be made again.
    except (OSError, RuntimeError) as error:
      logging.warning("the trace in %s is not written: %s", self._folder, error)

  def __enter__(self) -> "StepProfiler":
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    if self.tracing:
      self._write()
