"""A second captioner that learns from clean and attacked pictures what the first one says."""
