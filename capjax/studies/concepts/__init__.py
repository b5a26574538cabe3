"""Concepts behind a word (ACE and TCAV for captions): found, tested, kept, shown as maps."""

from capjax.studies.concepts.concept import Concept, ConceptSet, Example
from capjax.studies.concepts.fitting import fit_concepts
from capjax.studies.concepts.maps import ConceptMaps
from capjax.studies.concepts.settings import ConceptSettings

__all__ = ["Concept", "ConceptMaps", "ConceptSet", "ConceptSettings", "Example", "fit_concepts"]
