"""Pretrained weights: readers, one strict engine, and a table for each family."""

from capjax.weights.convert import Rule, Table, convert
from capjax.weights.encoders import load_encoder_weights
from capjax.weights.readers import read_weights

__all__ = ["Rule", "Table", "convert", "load_encoder_weights", "read_weights"]
