"""Steps of NanoDO (google-deepmind/nanodo) as its trainer jits them, for `compare.py`.

Its model, loss, optimizer, metrics and train step are imported from --source; its data pipeline and its writers,
which no step needs, are stood in for, so that TensorFlow need not be installed. --metrics=False leaves out the
statistics of gradients, parameters and updates that its default configuration computes at each step.
"""

import functools
import sys
from unittest import mock

import bursts

STOOD_IN = (
  "tensorflow",
  "tensorflow_datasets",
  "sentencepiece",
  "clu",
  "clu.metric_writers",
  "clu.periodic_actions",
)


def main() -> None:
  """Serves bursts of steps."""
  options = bursts.arguments(__doc__ or "", source="", metrics="True")
  sys.path.insert(0, options.source)
  sys.modules.update({name: mock.MagicMock() for name in STOOD_IN})
  import jax
  import jax.numpy as jnp
  import numpy as np
  from jax.sharding import Mesh
  from nanodo import metrics, model_factory, train
  from nanodo.configs import default

  config = default.get_config()
  config.model.update(
    D=options.width, H=options.heads, L=options.length, N=options.depth, F=4 * options.width
  )
  config.model.dtype = "float32"
  config.batch_size = options.batch
  config.opt.clip_by_global_norm = 1.0
  if options.metrics == "False":
    metrics.get_metrics = lambda aux, c, loss, *others: {"train_loss": loss}
  before = bursts.peak_bytes()
  mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
  with config.unlocked():
    config.opt.log_internal_metrics = config.log_internal_metrics
  model, loss = model_factory.get_model_and_loss(config, options.vocab)
  shardings, state = train._init_train_state(config, model, rng=jax.random.PRNGKey(0), mesh=mesh)
  trainer = train.Trainer(config, state, mesh, shardings, loss)
  draw = functools.partial(
    np.random.default_rng(0).integers, 1, options.vocab, (options.batch, options.length)
  )

  def steps(count: int) -> None:
    pending = None
    for step in range(1, count + 1):
      outcome = trainer.do_step(step, jnp.asarray(draw(), jnp.int32))
      if pending is not None:
        jax.device_get(pending)
      pending = outcome
    assert np.isfinite(float(jax.device_get(pending)["train_loss"]))

  bursts.serve(steps, before)


if __name__ == "__main__":
  main()
