"""Objects of photographs as masks: annotated, detected, drawn as masks, rendered."""
