"""Where things are in images and clips, and what words name them."""
