"""Figures of scores: tables of methods, curves of calibration."""
