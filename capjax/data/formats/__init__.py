"""Formats of caption files, one a file: each tells its own content, and reads it."""
