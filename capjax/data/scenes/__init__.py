"""The embedded data set: rendered scenes with exact captions, boxes and masks; still and moving."""

from capjax.data.scenes.still import Scene, Scenes, scene

__all__ = ["Scene", "Scenes", "scene"]
