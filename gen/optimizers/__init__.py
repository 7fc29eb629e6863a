"""Optimizers and their schedules, by the names that configs use.

    name       matrices                                     all else
    adamw      AdamW (arXiv:1711.05101)                     AdamW, without decay
    muon       momentum orthogonalized (arXiv:2502.16982)   AdamW
    lion       sign of the momentum (arXiv:2302.06675)      the same, without decay
    adafactor  factored second moment (arXiv:1804.04235)    the same, without decay
    sgd        Nesterov momentum                            the same, without decay

Any other optimizer is a function of the user's own: `optimizer.name="optax:lamb"` or `"path/to/file.py:make"`, called
with `learning_rate` and the keyword arguments of `optimizer.options`. Parameters can be frozen, or trained at multiples
of the learning rate (`parameter_groups`).
"""

from gen.optimizers.adamw import SCHEDULES, ScheduleParams, decay_mask, learning_rate, schedule_params
from gen.optimizers.parameter_groups import select_paths, select_trained, split_frozen, tree_paths
from gen.optimizers.registry import OPTIMIZERS, count_update_flops, make_update_rule, read_options
from gen.optimizers.update_rule import UpdateRule

__all__ = [
  "OPTIMIZERS",
  "SCHEDULES",
  "ScheduleParams",
  "UpdateRule",
  "count_update_flops",
  "decay_mask",
  "learning_rate",
  "make_update_rule",
  "read_options",
  "schedule_params",
  "select_paths",
  "select_trained",
  "split_frozen",
  "tree_paths",
]
