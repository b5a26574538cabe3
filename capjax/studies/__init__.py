"""Studies of captioners: what is no map, or more than maps. See `capjax.studies.contract`."""

from capjax.studies.contract import Finding, Study, Subject, Summary, Table

__all__ = ["Finding", "Study", "Subject", "Summary", "Table"]
