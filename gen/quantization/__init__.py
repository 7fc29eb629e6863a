"""Quantization of whole models: weights, activations, calibration on text, comparison before and after."""
