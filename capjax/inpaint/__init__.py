"""Removes what a mask covers from pictures: a gated-convolution inpainter."""
