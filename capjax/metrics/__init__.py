"""Scores: how good captions are, and where maps point."""
