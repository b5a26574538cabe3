"""Scores of captions and of maps: `python -m capjax.evaluate`."""
