"""Letters of any script."""
