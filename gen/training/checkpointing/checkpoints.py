"""Checkpoints of a run: asynchronous, atomic, checksummed, restorable into any layout (orbax holds the arrays).

`save` returns once the arrays cannot change any more. A thread writes them and the metadata, reads the arrays back,
writes checksums, and renames the step to its final name. So each step with a final name is complete, whenever the
process dies.
"""

import contextlib
import errno
import json
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from gen.errors import UserError
from gen.io import checksums, plain_paths
from gen.sharding import processes
from gen.training.checkpointing import checkpoint_folder, orbax_setup, stored_arrays
from gen.training.checkpointing.checkpoint_records import CheckpointMeta, Tree

PARAMETERS, OPTIMIZER = "params", "opt_state"  # parts of a training state that can be read alone


class Checkpoints:
  """The checkpoints of one run in one folder; one writer at a time.

  Attributes:
    folder: folder of the steps; the first save creates it.
  """

  def __init__(
    self,
    folder: str | Path,
    keep: int = 2,
    asynchronous: bool = True,
    *,
    keep_every: int = 0,
    keep_best: str = "",
    keep_steps: Collection[int] = (),
    report: Callable[[str], None] = logging.warning,
  ) -> None:
    """Sets the folder and options; does not access the disk.

    Args:
      folder: folder of the steps.
      keep: number of last steps to retain.
      asynchronous: whether `save` returns before everything is on the disk.
      keep_every: multiples of it are retained too; 0 for none.
      keep_best: name of a number in meta; the step with the lowest one is retained too.
      keep_steps: steps that are retained too.
      report: called with a sentence when a restore falls back to an earlier step, or finds files of something else.

    Raises:
      UserError: for a folder in whose path no checkpoint can be saved.
    """
    if keep < 1:
      raise UserError(f"keep is {keep}; it must be 1 or more checkpoints")
    self.folder = Path(folder).absolute()
    plain_paths.require_plain(self.folder)
    self._keep, self._every, self._best, self._named = keep, keep_every, keep_best, keep_steps
    self._asynchronous, self._report = asynchronous, report
    # orbax's own manager is not used for names and retention: a step counts as complete here only with its manifest.
    self._checkpointer = ocp.AsyncCheckpointer(orbax_setup.make_handler())
    self._thread: threading.Thread | None = None
    self._failure: UserError | None = None
    self._opened = False
    self._paths = contextlib.ExitStack()  # plain paths that orbax writes to, closed after the write

  def save(self, step: int, state: Any, meta: Mapping[str, object]) -> None:
    """Saves the state and its metadata as one step that appears completely or not at all.

    Args:
      step: number of the step; an existing checkpoint of it is replaced.
      state: tree of arrays; they may be donated or changed as soon as this returns.
      meta: plain values (config, tokenizer hash, data position); "step" is added.

    Raises:
      UserError: if this save, or the asynchronous one before it, failed.
    """
    self.wait()
    flat, tree = _flatten(state)
    size = sum(leaf.nbytes for leaf in flat.values())
    # Rendered as text now, because the caller may change meta while the thread writes.
    record = {"step": step, "saved": time.time(), "bytes": size, "meta": {**meta, "step": step}, "tree": tree}
    text = json.dumps(record, default=lambda value: value.tolist())
    partial = checkpoint_folder.path_of(self.folder, step).with_suffix(checkpoint_folder.PARTIAL)
    try:
      # In process 0 alone, which then answers the others: all of them write into the same folder.
      processes.from_first(lambda: self._begin(partial))
      arrays: Mapping[str, jax.Array | np.ndarray] = {name: leaf for name, leaf in flat.items() if leaf.size}
      if processes.process_count() == 1:
        arrays = _on_host(arrays)
      else:  # orbax synchronizes the processes here, which must not interleave with the next step's collectives.
        self._write(partial, arrays)
        arrays = {}
    except Exception as error:
      self._abandon(partial)
      raise self._explained(step, error) from error
    self._thread = threading.Thread(
      target=self._finish, args=(step, partial, text, tree, arrays), name="checkpoint"
    )
    self._thread.start()
    if not self._asynchronous:
      self.wait()

  def restore(
    self,
    template: Any,
    step: int | None = None,
    *,
    fall_back: bool = False,
    accept: Callable[[CheckpointMeta], None] = lambda meta: None,
  ) -> tuple[Any, CheckpointMeta]:
    """Returns the state, bit for bit, in the template's layout, and its meta.

    Args:
      template: tree of arrays or `jax.ShapeDtypeStruct`; its shardings are used, and numpy leaves stay numpy.
      step: step to restore; None is the latest.
      fall_back: whether a damaged step is set aside (renamed) and the step before it restored.
      accept: called with the meta of the chosen step before its arrays are read; raises to refuse it.

    Raises:
      UserError: if there is no checkpoint, if it is damaged (the file is named), or if it is of another model.
    """
    self.wait()
    chosen = processes.from_first(lambda: self._sound(step, fall_back))
    accept(self.meta(chosen))
    return self._read(chosen, template)

  def restore_parameters(self, template: Any, step: int | None = None) -> Any:
    """Returns the parameters of a checkpoint, as `restore` does; what else it holds is not read."""
    return self.restore_part(PARAMETERS, template, step)

  def restore_part(self, part: str, template: Any, step: int | None = None) -> Any:
    """Returns one part of a checkpoint's state, as `restore` does; what else it holds is not read."""
    self.wait()
    return self._read(processes.from_first(lambda: self._sound(step, False)), {part: template}, part)[0][part]

  def _sound(self, step: int | None, fall_back: bool) -> int:
    """Returns the step to restore, after comparing its files with the manifest; see `restore`."""
    # A step that was set aside is followed by the one before it, which may be damaged too.
    while True:
      chosen = step if step is not None else max(checkpoint_folder.complete_steps(self.folder), default=None)
      if chosen is None:
        raise UserError(f"{self.folder} has no complete checkpoint")
      path = checkpoint_folder.path_of(self.folder, chosen)
      damages = checkpoint_folder.find_damages(self.folder, chosen)
      if not damages:
        if strays := checkpoint_folder.find_strays(self.folder, chosen):
          self._report(f"checkpoint {path} holds files that are not part of it; ignored: {', '.join(strays)}")
        return chosen
      sentence = f"checkpoint {path} is damaged: {checkpoint_folder.shorten_lines(damages)}"
      earlier = [step for step in checkpoint_folder.complete_steps(self.folder) if step < chosen]
      if not earlier:
        advice = f"put a copy of it back, or delete {self.folder} and train again from the start"
        raise UserError(f"{sentence}; there is no earlier one: {advice}")
      if not fall_back:
        raise UserError(f"{sentence}; the step before it is {earlier[-1]}")
      checkpoint_folder.set_aside(path)
      self._report(f"{sentence}; it was set aside, and step {earlier[-1]} is restored")
      step = earlier[-1]

  def latest(self) -> int | None:
    """Returns the newest complete step, or None; waits for a save in progress."""
    self.wait()
    return processes.from_first(lambda: max(checkpoint_folder.complete_steps(self.folder), default=None))

  def steps(self) -> list[int]:
    """Returns all complete steps in rising order; waits for a save in progress."""
    self.wait()
    return checkpoint_folder.complete_steps(self.folder)

  def meta(self, step: int) -> CheckpointMeta:
    """Returns the meta of a complete step without reading an array."""
    return checkpoint_folder.read_record(self.folder, step)["meta"]

  def rewind(self, step: int) -> None:
    """Deletes the checkpoints after `step`, for a run that continues from there."""
    for later in self.steps():
      if later > step:
        checkpoint_folder.remove_step(checkpoint_folder.path_of(self.folder, later))

  def wait(self) -> None:
    """Waits until the last save is on the disk.

    Raises:
      UserError: if it failed, once.
    """
    if self._thread is not None:
      self._thread.join()
      self._thread = None
    if self._failure is not None:
      failure, self._failure = self._failure, None
      raise failure

  def close(self) -> None:
    """Waits for the last save and releases threads."""
    try:
      self.wait()
    finally:
      self._checkpointer.close()
      self._paths.close()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    try:
      self.close()
    except UserError as failure:
      if error is None:
        raise
      error.add_note(str(failure))  # The first error is raised, and both are shown.

  def _begin(self, partial: Path) -> None:
    """Creates the folders and, before the first save, removes the leftovers of a killed writer."""
    shutil.rmtree(partial, ignore_errors=True)
    self.folder.mkdir(parents=True, exist_ok=True)
    if not self._opened:
      for path in checkpoint_folder.find_leftovers(self.folder):
        shutil.rmtree(path)
      self._opened = True
    partial.mkdir()

  def _abandon(self, partial: Path) -> None:
    if processes.is_first():
      shutil.rmtree(partial, ignore_errors=True)

  def _write(self, partial: Path, arrays: Mapping[str, jax.Array | np.ndarray]) -> None:
    path = self._paths.enter_context(plain_paths.plain_path(partial))
    self._checkpointer.save(path / checkpoint_folder.STATE, args=ocp.args.PyTreeSave(arrays))

  def _finish(
    self,
    step: int,
    partial: Path,
    text: str,
    tree: Tree,
    arrays: Mapping[str, jax.Array | np.ndarray],
  ) -> None:
    """Runs in the thread: writes, reads back, seals and names the step, then deletes steps that are not retained.

    In a run of several processes each process writes its arrays, and process 0 does everything else.
    """
    try:
      if arrays:
        self._write(partial, arrays)
      self._checkpointer.wait_until_finished()
      self._paths.close()  # not after a failure: threads of tensorstore may still write to these paths
      if not processes.is_first():
        return
      # Read back before the checksums: those would only prove that the files are as damaged as they were written.
      self._read_back(partial, tree, arrays)
      checksums.write_durably(partial / checkpoint_folder.META, text)
      checksums.seal_folder(partial)
      checkpoint_folder.commit_step(partial, self.folder, step)
      self._prune(step)
    except Exception as error:
      self._abandon(partial)
      self._failure = self._explained(step, error)

  def _read_back(self, partial: Path, tree: Tree, arrays: Mapping[str, jax.Array | np.ndarray]) -> None:
    """Raises OSError unless each array can be opened, and, if this process has all of it, holds the saved values."""
    faults = stored_arrays.array_faults(partial / checkpoint_folder.STATE, tree, arrays or None)
    if faults:
      raise OSError(f"the arrays written cannot be read back: {'; '.join(faults[:3])}")

  def _prune(self, newest: int) -> None:
    complete = checkpoint_folder.complete_steps(self.folder)
    best = self._best_step(complete)
    retained = checkpoint_folder.retained_steps(complete, self._keep, self._every, best, newest, self._named)
    for step in set(complete) - retained:
      checkpoint_folder.remove_step(checkpoint_folder.path_of(self.folder, step))

  def _best_step(self, complete: list[int]) -> int | None:
    if not self._best:
      return None
    scores = {step: self.meta(step).get(self._best) for step in complete}
    # NaN is unequal to itself, and is no score.
    numbers = {
      step: score for step, score in scores.items() if isinstance(score, int | float) and score == score
    }
    return min(numbers, key=lambda step: numbers[step], default=None)

  def _explained(self, step: int, error: BaseException) -> UserError:
    """Returns the error of a failed save, as one sentence."""
    # tensorstore's errors have no errno, so their text is searched too.
    text, number = str(error), getattr(error, "errno", None)
    failed = f"cannot save step {step} in {self.folder}"
    latest = max(checkpoint_folder.complete_steps(self.folder), default=None)
    saved = f"the last complete checkpoint is {'none' if latest is None else f'step {latest}'}"
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "quota exceeded" in text:
      return UserError(f"{failed}: no space left on the disk; free some or choose another folder; {saved}")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "ermission denied" in text:
      return UserError(f"{failed}: the folder is not writable; choose another; {saved}")
    return UserError(f"{failed}: {(text or type(error).__name__).splitlines()[0]}; {saved}")

  def _read(self, step: int, template: Any, part: str = "") -> tuple[Any, CheckpointMeta]:
    """Returns the state of a step, or one part of it, and its meta."""
    record = checkpoint_folder.read_record(self.folder, step)
    flat, expected = _flatten(template)
    stored = {name: leaf for name, leaf in record["tree"].items() if not part or name.startswith(f"{part}/")}
    if part:  # parameters that were stored in bfloat16 are read as the float32 that readers ask for
      wide = [name for name, leaf in stored.items() if leaf["dtype"] == "bfloat16" and name in expected]
      stored |= {name: {**stored[name], "dtype": expected[name]["dtype"]} for name in wide}
    lines = checkpoint_folder.tree_differences(stored, expected)
    if lines:
      path = checkpoint_folder.path_of(self.folder, step)
      raise UserError("\n  ".join([f"checkpoint {path} is of another model:", *lines]))
    arguments = {name: _restore_argument(leaf) for name, leaf in flat.items() if leaf.size}
    with plain_paths.plain_path(checkpoint_folder.path_of(self.folder, step)) as path:
      saved = self._checkpointer.restore(
        path / checkpoint_folder.STATE,
        args=ocp.args.PyTreeRestore(
          item=dict.fromkeys(arguments, 0), restore_args=arguments, partial_restore=bool(part)
        ),
      )
    leaves, structure = jax.tree.flatten(template)
    restored = [_like(leaf, saved.get(name)) for name, leaf in zip(flat, leaves, strict=True)]
    return jax.tree.unflatten(structure, restored), record["meta"]


def _flatten(tree: Any) -> tuple[dict[str, jax.Array], Tree]:
  """Returns the leaves by path (random keys as their data), and their shapes and dtypes."""
  flat: dict[str, jax.Array] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name in flat:
      raise ValueError(f"two leaves of the state are both called {name}")
    flat[name] = _plain(leaf)
  shapes: Tree = {name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for name, leaf in flat.items()}
  return flat, shapes


def _is_key(leaf: Any) -> bool:
  return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
  """Returns the stored form of a leaf: an array with a plain type."""
  if not _is_key(leaf):
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
  return jax.eval_shape(jax.random.key_data, leaf) if _abstract(leaf) else jax.random.key_data(leaf)


def _on_host(arrays: Mapping[str, jax.Array | np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the current values on the host, independent of later changes to the arrays."""
  # On a CPU `np.asarray` returns a view, which is safe: jax reuses a donated buffer only if no view of it exists. On
  # other devices all copies are started before the first is waited for.
  for leaf in arrays.values():
    if isinstance(leaf, jax.Array):
      leaf.copy_to_host_async()
  return {
    name: np.asarray(leaf) if isinstance(leaf, jax.Array) else np.array(leaf) for name, leaf in arrays.items()
  }


def _abstract(leaf: Any) -> bool:
  return isinstance(leaf, jax.ShapeDtypeStruct)


def _restore_argument(leaf: Any) -> ocp.RestoreArgs:
  if isinstance(leaf, np.ndarray | np.generic):
    return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
  sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return ocp.ArrayRestoreArgs(
    restore_type=jax.Array, sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype
  )


def _like(leaf: Any, value: Any) -> Any:
  """Returns the restored value in the form of the template's leaf."""
  if value is None:  # Of size 0: nothing was stored.
    return (
      np.zeros(leaf.shape, leaf.dtype)
      if isinstance(leaf, np.ndarray)
      else jax.numpy.zeros(leaf.shape, leaf.dtype)
    )
  if _is_key(leaf):
    return jax.random.wrap_key_data(value, impl=_key_implementation(leaf))
  return value if hasattr(leaf, "dtype") else type(leaf)(value)


def _key_implementation(leaf: Any) -> Any:
  """Returns the generator of a key; jax provides it for arrays and tracers, but not for shapes."""
  implementations: list[Any] = []
  jax.eval_shape(lambda key: implementations.append(jax.random.key_impl(key)), leaf)
  return implementations[0]
