"""The runs of a sweep: expansion, trunks with branches, the learning-rate rule."""
