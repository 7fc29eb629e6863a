"""The KV cache: keys and values of the tokens that a stack has read, one slot each.

Prompts end at the same slot, with padding on their left, so that all rows write the same slot at each step:

    slot         0 1 2 3 4   5 6 7 8
    positions    . . 0 1 2   3 4 5 6        a row with a prompt of 3
                 0 1 2 3 4   5 6 7 8        a row with a prompt of 5; both are about to write slot 7
                             `-' drawn

With `model.cache_format` int8 each key and value is stored as int8 with a scale, its largest magnitude / 127.

B rows, S slots, T new tokens, G key and value heads, K head width.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from gen.kernels import quantized
from gen.kernels.cached_attention import QuantizedRows

# Added to the score of a masked key: exp underflows to 0 in float32, and the weights are 0. It is finite, because a row
# whose keys are all masked would give NaN with -inf; here its weights are even, and nothing reads them.
MASKED_SCORE = -1e9
KEYS, VALUES = "keys", "values"  # names in the collection "cache"
SCALES = "_scales"  # ending of the name of an int8 array's scales, float32 [B, G, S, 1]
CachedRows = Array | QuantizedRows  # keys or values as the cache stores them


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
    # The slot is traced, so that one compiled program serves every step.
    return jax.lax.dynamic_slice_in_dim(self.positions_bs, self.first, length, axis=1)

  def slot_indices(self) -> tuple[Array, Array]:
    """Returns the slot of the one new token [1, 1] and those of all keys [1, S]."""
    return jnp.asarray(self.first)[None, None], jnp.arange(self.positions_bs.shape[1])[None]

  def distances(self) -> Array:
    """Returns how far each slot lies before the one new token, [S]."""
    query_11, keys_1s = self.slot_indices()
    return (query_11 - keys_1s)[0]

  def mask(self, window: int = 0) -> Array:
    """Returns 0 where the one new token may attend, MASKED_SCORE elsewhere, float32 [B, 1, 1, S].

    With a window, it attends to that many tokens, itself included.
    """
    distances_s = self.distances()
    # Slots of padding have negative positions, and slots that are not written yet lie after the new token.
    seen_bs = (self.positions_bs >= 0) & (distances_s >= 0)
    seen_bs = seen_bs & (distances_s < window) if window else seen_bs
    return jnp.where(seen_bs, 0.0, MASKED_SCORE)[:, None, None].astype(jnp.float32)

  def append(self, module: nn.Module, k_bgtk: Array, v_bgtk: Array) -> tuple[Array, Array]:
    """Writes new keys and values [B, G, T, K] into the module's cache and returns those to attend to.

    A prompt attends only to itself, a later token to every slot [B, G, S, K].
    """
    keys, values = self.append_stored(module, k_bgtk, v_bgtk)
    return dequantize_rows(keys, k_bgtk.dtype), dequantize_rows(values, v_bgtk.dtype)

  def append_stored(self, module: nn.Module, k_bgtk: Array, v_bgtk: Array) -> tuple[CachedRows, CachedRows]:
    """Does what `append` does, and returns a cache of int8 as it is stored."""
    if self.first is None:
      # Allocated at full length at once: the cache's shape never changes, so each step is the same program.
      free = self.positions_bs.shape[1] - k_bgtk.shape[2]
      for name, new in _stored(module, k_bgtk, v_bgtk):
        module.put_variable("cache", name, jnp.pad(new, ((0, 0), (0, 0), (0, free), (0, 0))))
      # Without the empty slots the prompt's products are as small as in training.
      return k_bgtk, v_bgtk
    for name, new in _stored(module, k_bgtk, v_bgtk):
      cached: Array = module.get_variable("cache", name)
      # All rows write the same slot, so this is one slice, which XLA updates in place, and no scatter.
      module.put_variable("cache", name, jax.lax.dynamic_update_slice_in_dim(cached, new, self.first, axis=2))
    return load_stored(module)


def store_memory(module: nn.Module, k_bgsk: Array, v_bgsk: Array) -> None:
  """Writes the keys and values [B, G, S, K] of cross attention into the module's cache, once for all steps."""
  for name, array in _stored(module, k_bgsk, v_bgsk):
    module.put_variable("cache", name, array)


def load_stored(module: nn.Module) -> tuple[CachedRows, CachedRows]:
  """Returns the module's cached keys and values [B, G, S, K], as they are stored."""
  keys, values = (_loaded(module, name) for name in (KEYS, VALUES))
  return keys, values


def dequantize_rows(rows: CachedRows, dtype: Any) -> Array:
  """Returns keys or values as an array [B, G, S, K]; int8 ones in the dtype."""
  return rows.dequantize(dtype) if isinstance(rows, QuantizedRows) else rows


def _stored(module: nn.Module, k_bgtk: Array, v_bgtk: Array) -> list[tuple[str, Array]]:
  """Returns the arrays of the cache by name, as the config of the module stores them."""
  arrays = ((KEYS, k_bgtk), (VALUES, v_bgtk))
  if getattr(getattr(module, "config", None), "cache_format", "float") != "int8":
    return list(arrays)
  stored = []
  for name, array in arrays:
    # One scale for each key and value, of K numbers: a scale for the cache would have to change as text grows.
    levels_nk, scales_n1 = quantized.quantize_rows(array.reshape(-1, array.shape[-1]))
    stored.append((name, levels_nk.reshape(array.shape)))
    stored.append((name + SCALES, scales_n1.reshape(*array.shape[:-1], 1)))
  return stored


def _loaded(module: nn.Module, name: str) -> CachedRows:
  array: Array = module.get_variable("cache", name)
  return (
    array if array.dtype != jnp.int8 else QuantizedRows(array, module.get_variable("cache", name + SCALES))
  )
