"""Counterfactuals: what a captioner says of a photograph with one object of it removed."""
