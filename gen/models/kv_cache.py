"""The KV cache: keys and values of the tokens that a stack has read, one slot each.

Prompts end at the same slot, with padding on their left, so that all rows write the same slot at each step:

    slot         0 1 2 3 4   5 6 7 8
    positions    . . 0 1 2   3 4 5 6        a row with a prompt of 3
                 0 1 2 3 4   5 6 7 8        a row with a prompt of 5; both are about to write slot 7
                             `-' drawn

B rows, S slots, T new tokens, G key and value heads, K head width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

MASKED_SCORE = -1e9  # added to the score of a key that must not be seen
KEYS, VALUES = "keys", "values"  # names in the collection "cache"


class CacheSlots(NamedTuple):
  """The slots of a stack while it reads new tokens.

  Attributes:
    positions_bs: position of each slot's token; below 0 for padding.
    first: slot of the first new token; None while prompts are read, which begin at slot 0.
  """

  positions_bs: Array
  first: Array | None = None

  @property
  def is_prefill(self) -> bool:
    """Whether the new tokens are the first."""
    return self.first is None

  def new_positions(self, length: int) -> Array:
    """Returns the positions of the T new tokens as [B, T]; below 0 for padding."""
    if self.first is None:
      return self.positions_bs[:, :length]
    return jax.lax.dynamic_slice_in_dim(self.positions_bs, self.first, length, axis=1)

  def slot_indices(self) -> tuple[Array, Array]:
    """Returns the slot of the one new token [1, 1] and those of all keys [1, S]."""
    return jnp.asarray(self.first)[None, None], jnp.arange(self.positions_bs.shape[1])[None]

  def distances(self) -> Array:
    """Returns how far each slot lies before the one new token, [S]."""
    query_11, keys_1s = self.slot_indices()
    return (query_11 - keys_1s)[0]

  def mask(self) -> Array:
    """Returns 0 where the one new token may look, NEVER elsewhere, float32 [B, 1, 1, S]."""
    seen_bs = (self.positions_bs >= 0) & (self.distances() >= 0)
    return jnp.where(seen_bs, 0.0, MASKED_SCORE)[:, None, None].astype(jnp.float32)

  def append(self, module: nn.Module, k_bgtk: Array, v_bgtk: Array) -> tuple[Array, Array]:
    """Writes new keys and values into the module's cache and returns those to look at.

    A prompt looks at itself alone; a later token at every slot.
    """
    if self.first is None:
      room = self.positions_bs.shape[1] - k_bgtk.shape[2]
      for name, new in ((KEYS, k_bgtk), (VALUES, v_bgtk)):
        module.put_variable("cache", name, jnp.pad(new, ((0, 0), (0, 0), (0, room), (0, 0))))
      return k_bgtk, v_bgtk
    for name, new in ((KEYS, k_bgtk), (VALUES, v_bgtk)):
      kept: Array = module.get_variable("cache", name)
      module.put_variable("cache", name, jax.lax.dynamic_update_slice_in_dim(kept, new, self.first, axis=2))
    return load_memory(module)


def store_memory(module: nn.Module, k_bgsk: Array, v_bgsk: Array) -> None:
  """Writes the keys and values of a memory into the module's cache, once for all steps."""
  module.put_variable("cache", KEYS, k_bgsk)
  module.put_variable("cache", VALUES, v_bgsk)


def load_memory(module: nn.Module) -> tuple[Array, Array]:
  """Returns the module's cached keys and values."""
  return module.get_variable("cache", KEYS), module.get_variable("cache", VALUES)
