"""Detectors: which objects a photograph shows, and where."""
