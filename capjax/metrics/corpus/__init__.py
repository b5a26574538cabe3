"""Statistics of many images, gathered one image at a time."""
