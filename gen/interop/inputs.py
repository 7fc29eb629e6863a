"""Converts the inputs of a Hugging Face model to arguments of a module of `gen`. B batch, T length, S source length."""

from typing import Any

import numpy as np

from gen.errors import UserError
from gen.interop.pretrained import Pretrained


def prepare_inputs(
  model: Pretrained, input_ids: Any, attention_mask: Any, token_type_ids: Any, decoder_input_ids: Any
) -> dict[str, np.ndarray]:
  """Returns the arguments of the module.

  Raises:
    UserError: for ids outside the vocabulary, a text that is too long, or shapes that do not agree.
  """
  ids_bt = _ids("input_ids", input_ids, model.config.vocab)
  mask_bt = np.ones_like(ids_bt) if attention_mask is None else np.asarray(attention_mask)
  _same_shape("attention_mask", mask_bt, ids_bt)
  mask_bt = (mask_bt != 0).astype(np.int32)
  if token_type_ids is not None and not model.config.token_types:
    raise UserError(f"token_type_ids are set, but {model.architecture} has no token types")
  if model.config.family == "encoder_decoder":
    target_bt = _target(model, ids_bt, decoder_input_ids)
    _fits(model, np.arange(max(ids_bt.shape[1], target_bt.shape[1])))
    arguments = {"inputs_bt": target_bt, "source_bs": ids_bt, "source_segments_bs": mask_bt}
    return arguments | _pooled(model, ids_bt, "eos_token_id", target_bt.shape)
  if decoder_input_ids is not None:
    raise UserError(f"decoder_input_ids are set, but this {model.architecture} has no decoder")
  places_bt = model.table.positions(model.values, ids_bt, mask_bt)
  if places_bt is None:
    places_bt = np.broadcast_to(np.arange(ids_bt.shape[1]), ids_bt.shape)
  _fits(model, places_bt)
  arguments = {"inputs_bt": ids_bt, "key_segments_bt": mask_bt, "positions_bt": places_bt.astype(np.int32)}
  if token_type_ids is not None:
    arguments["token_types_bt"] = _ids("token_type_ids", token_type_ids, model.config.token_types)
    _same_shape("token_type_ids", arguments["token_types_bt"], ids_bt)
  if model.task is not None and model.task.pooling == "mean":
    arguments["pooled_bt"] = mask_bt
  return arguments | _pooled(model, ids_bt, "pad_token_id", ids_bt.shape)


def _pooled(
  model: Pretrained, ids_bt: np.ndarray, token: str, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
  """Returns which tokens a classifier of whole texts reads the last of, as transformers finds it by their ids.

  Args:
    model: the model.
    ids_bt: of the text; its padding in a decoder, its end in an encoder-decoder, is a token of config.json.
    token: the field of that token.
    shape: of the ids that the last stack reads.

  Raises:
    UserError: for decoder_input_ids of another length, or a text of an encoder-decoder without its end.
  """
  if model.task is None or model.task.kind != "classify" or model.task.pooling != "last":
    return {}
  identity = model.values.get(token)
  if token == "pad_token_id":
    pooled_bt = np.ones_like(ids_bt) if identity is None else ids_bt != identity
    return {"pooled_bt": pooled_bt.astype(np.int32)}
  if shape != ids_bt.shape:
    raise UserError(
      "decoder_input_ids must be as long as input_ids, where a classifier reads their last end of text"
    )
  pooled_bt = ids_bt == identity
  if not pooled_bt.any(axis=1).all():
    raise UserError(f"a row of input_ids has no {token} {identity}, whose last position the classifier reads")
  return {"pooled_bt": pooled_bt.astype(np.int32)}


def _target(model: Pretrained, ids_bs: np.ndarray, decoder_input_ids: Any) -> np.ndarray:
  """Returns the decoder's inputs: decoder_input_ids, or the source shifted right after the start token."""
  if decoder_input_ids is not None:
    target_bt = _ids("decoder_input_ids", decoder_input_ids, model.config.vocab)
    if len(target_bt) != len(ids_bs):
      raise UserError(f"decoder_input_ids has {len(target_bt)} rows, but input_ids has {len(ids_bs)}")
    return target_bt
  values = model.values
  start = next(
    (values[key] for key in ("decoder_start_token_id", "pad_token_id") if values.get(key) is not None), 0
  )
  return np.concatenate([np.full_like(ids_bs[:, :1], start), ids_bs[:, :-1]], axis=1)


def _ids(name: str, ids: Any, limit: int) -> np.ndarray:
  array = np.asarray(ids)
  if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.integer):
    raise UserError(f"{name} is {array.dtype} {list(array.shape)}; it must be integers [batch, length]")
  if array.min() < 0 or array.max() >= limit:
    raise UserError(f"{name} holds {array.min()} to {array.max()}; it must be 0 to {limit - 1}")
  return array.astype(np.int32)


def _same_shape(name: str, array: np.ndarray, ids_bt: np.ndarray) -> None:
  if array.shape != ids_bt.shape:
    raise UserError(f"{name} has the shape {list(array.shape)}, but input_ids has {list(ids_bt.shape)}")


def _fits(model: Pretrained, places: np.ndarray) -> None:
  if model.config.positions == "learned" and places.max() >= model.config.context:
    raise UserError(
      f"the text has {places.max() + 1} positions, but the model has only {model.config.context}"
    )
