"""A folder of pictures without what masks remove."""
