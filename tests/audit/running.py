"""Runs audits and reads their tables."""

import csv

from capjax.audit.__main__ import main


def audited(folder, out, *more):
    """Runs the command; returns the folder of the audit."""
    assert main([f"--results={folder}", f"--out={out}", *more]) == 0
    return out


def rows(out, name):
    """A table of an audit, a mapping a row."""
    with open(out / f"{name}.csv") as stream:
        return list(csv.DictReader(stream))


def flagged(out, name, *keys):
    """Cells of some columns of the flagged rows."""
    return [tuple(row[key] for key in keys) for row in rows(out, name) if int(row["flagged"])]
