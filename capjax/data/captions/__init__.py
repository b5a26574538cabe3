"""Captions and the images they are about, before any file format."""
