"""Captioners saved by Keras."""
