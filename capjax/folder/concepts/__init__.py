"""Concepts of a folder of pictures: `python -m capjax.studies concepts`."""
