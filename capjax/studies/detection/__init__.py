"""Which pictures are adversarial: those whose caption and maps do not outlive a little noise."""

from capjax.studies.detection.instability import Instability

__all__ = ["Instability"]
