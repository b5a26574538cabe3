"""Pictures of concepts."""
