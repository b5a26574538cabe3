"""Pictures of what an inpainter does."""
