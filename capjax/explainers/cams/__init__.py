"""Class activation maps: activations of a stage weighted by what the target makes of them."""
