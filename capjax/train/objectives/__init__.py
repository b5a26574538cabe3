"""Losses and rewards that a training step may follow."""
