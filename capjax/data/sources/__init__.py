"""Caption files of any format, and data sets by name."""
