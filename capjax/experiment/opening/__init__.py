"""Captioners by name, from wherever they are."""
