"""Scores of pictures."""
