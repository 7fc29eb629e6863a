"""Names of families, schedules and mesh axes that a config may hold."""

TRANSFORMERS = ("encoder", "decoder", "encoder_decoder")
RECURRENT = ("rnn", "lstm", "gru")
FAMILIES = TRANSFORMERS + RECURRENT
STABLE = ("wsd", "wsd_sqrt")  # schedules that stay at the peak until they decay
ATLAS_FAMILIES = ("decoder", "encoder", "encoder_decoder", "lstm")
# Outermost first: devices of the innermost axis are nearest to each other, and tensor parallelism communicates in every
# layer.
MESH_AXES = ("data", "fsdp", "tensor")
