"""Features of images on disk."""
