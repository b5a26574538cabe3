"""Gradients along a path, at the features or the pixels."""
