"""Removes the name prefixes that wrapping modules add to tensors.

A model that was compiled, distributed or trained inside another module is often saved with names of the wrapper:
`_orig_mod.` (torch.compile), `module.` (DataParallel, DDP), `_fsdp_wrapped_module.`, `_checkpoint_wrapped_module.`, or
`model.` (Lightning), at any position and nested.
"""

from gen.errors import UserError
from gen.interop.architectures.architecture import Architecture
from gen.interop.tensor_files import TensorHeader, TensorListing

# Prefixes of torch.compile, DataParallel, FSDP and activation checkpointing.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
OUTER = "model."  # of the attribute that holds the model in a training module


def unwrap_names(listed: TensorListing, architecture: Architecture) -> tuple[TensorListing, tuple[str, ...]]:
  """Returns the tensors under unwrapped names, and a sentence if these differ from the files'.

  Raises:
    UserError: if two tensors then have one name.
  """
  taken: set[str] = set()
  names = {name: _without(name, taken) for name in listed.tensors}
  while names and _is_outer(set(names.values()), architecture):
    names = {old: new.removeprefix(OUTER) for old, new in names.items()}
    taken.add(OUTER)
  if not taken:
    return listed, ()
  tensors: dict[str, TensorHeader] = {}
  for old, new in names.items():
    if new in tensors:
      raise UserError(
        f"{listed.tensors[old].file}: two tensors are named {new} once wrapper prefixes are removed"
      )
    tensors[new] = listed.tensors[old]._replace(name=new)
  prefixes = " and ".join(sorted(taken))
  return listed._replace(tensors=tensors), (
    f"tensor names contain {prefixes} of a wrapping module, which is removed",
  )


def _without(name: str, taken: set[str]) -> str:
  parts = name.split(".")
  outer = [part for part in parts if part not in WRAPPERS]
  taken.update(f"{part}." for part in parts if part in WRAPPERS)
  return ".".join(outer)


def _is_outer(names: set[str], architecture: Architecture) -> bool:
  """Returns whether all tensors are inside an attribute `model` of a larger module."""
  if not all(name.startswith(OUTER) for name in names):
    return False
  if architecture.prefix != OUTER:
    return True
  # BART's own names have this prefix too, except those of its head.
  heads = tuple(OUTER + head for head in (OUTER, *architecture.head_names))
  return any(name.startswith(heads) for name in names)
