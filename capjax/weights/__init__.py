"""Pretrained weights: readers, one strict engine, and tables for each family."""

from capjax.weights.convert import Rule, Table, convert
from capjax.weights.detectors import load_detector
from capjax.weights.encoders import fit_weights, load_encoder_weights, load_weights
from capjax.weights.hub import HubFile, hub_file
from capjax.weights.readers import read_weights
from capjax.weights.text_encoders import load_text_encoder

__all__ = [
    "HubFile",
    "Rule",
    "Table",
    "convert",
    "fit_weights",
    "hub_file",
    "load_detector",
    "load_encoder_weights",
    "load_text_encoder",
    "load_weights",
    "read_weights",
]
