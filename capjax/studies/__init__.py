"""Studies of captioners: what is no map, or more than maps. See `capjax.studies.contract`."""

from capjax.studies.contract import Curve, Finding, Study, Subject, Summary, Table

__all__ = ["Curve", "Finding", "Study", "Subject", "Summary", "Table"]
