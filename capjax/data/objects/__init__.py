"""Objects of photographs as masks: annotations, detections, pictures of masks, scenes."""
