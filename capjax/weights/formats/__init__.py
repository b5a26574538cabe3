"""One file a format: each reads every array of a weight file, and runs nothing that it holds."""
