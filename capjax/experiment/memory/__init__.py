"""Whether updates fit into memory: of any run, and of one that trains a captioner."""
