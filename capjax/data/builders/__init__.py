"""Builders of tensorflow-datasets."""
