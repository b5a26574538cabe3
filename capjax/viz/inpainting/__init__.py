"""Pictures of filled holes."""
