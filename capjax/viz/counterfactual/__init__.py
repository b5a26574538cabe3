"""Pictures of counterfactuals: objects by importance, and the world without them."""
