"""The pictures of the README and the documentation, made by a command."""
