"""Answers about a whole corpus of explained images: `python -m capjax.audit`."""
