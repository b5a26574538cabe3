"""A folder of results: the command behind `explain.py`."""
