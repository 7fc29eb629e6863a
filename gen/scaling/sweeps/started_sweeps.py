"""Sweeps whose runs start from one checkpoint: runs of one shape, which differ in budget, learning rate or seed.

N, D and C of such a run count the new run alone, as those of a single run do. A checkpoint has one shape, so a sweep
over sizes cannot start from it.
"""

import dataclasses

from gen.config import Sweep
from gen.errors import UserError


def with_source(sweep: Sweep) -> Sweep:
  """Returns the sweep with its checkpoint's step and checksum, which hold for every run, also one that begins later.

  Raises:
    UserError: for a source that cannot be read.
  """
  if not sweep.start_from:
    return sweep
  from gen.training import start_source  # imports jax, which the process that starts workers does not need

  source = start_source.find_source(sweep.start_from)
  pinned = sweep.start_from if source.run is None else f"{source.folder}:{source.step}"
  return dataclasses.replace(sweep, start_from=pinned, sources=(source.entry,))


def check_start(sweep: Sweep) -> None:
  """Checks that every run of a sweep can start from its checkpoint.

  Raises:
    UserError: for trunks, several shapes, or a shape that is not the checkpoint's.
  """
  if not sweep.start_from:
    return
  if sweep.trunks:
    raise UserError(
      "start_from is set, but the runs of trunks start from their trunk; set config.trunks=False"
    )
  widths = sorted({width for each in (*sweep.widths, sweep.held_out_widths) for width in each})
  if len(widths) > 1:
    raise UserError(
      f"start_from is a checkpoint of one shape, but config.widths holds {', '.join(map(str, widths))}; keep the "
      "width of the checkpoint, and vary budgets, learning_rate_multipliers or seeds"
    )
  from gen.training import start_source, starting

  source = start_source.find_source(sweep.start_from)
  if source.run is None or sweep.start_partial or not widths:
    return  # A worker compares a Hugging Face model when it reads its arrays.
  depth = dict(sweep.depths).get(widths[0], sweep.model.depth)
  model = dataclasses.replace(sweep.model, width=widths[0], depth=depth)
  if model.heads:
    model.head_width = widths[0] // model.heads
  starting.require_same_model(model, source.run.model, source)
