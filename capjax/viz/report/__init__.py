"""The page that shows explained images."""
