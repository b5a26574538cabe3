"""The sheet of concepts: rows, patches and places, by their pixels."""

import numpy as np
import pytest

from capjax.studies.concepts.concept import Concept, ConceptSet, Example
from capjax.viz.concepts.sheet import AGAINST, DIM, FOR, GAP, PALE, PAPER, TEXT, TILE, concept_sheet

PICTURE = np.full((32, 32, 3), (200, 40, 60), np.uint8)


def concepts(*scores: float, p: float = 0.001) -> ConceptSet:
    mask = np.zeros((32, 32), bool)
    mask[:16, :16] = True
    examples = (Example("a", mask),)
    found = [
        Concept(np.ones(3) / 3**0.5, np.array([one, one]), 0.9, p, p, p, 30, 12, examples)
        for one in scores
    ]
    return ConceptSet("bus", "", tuple(found), 0.01, np.array([0.4, 0.6]), {"model": "0" * 64})


def test_a_row_holds_the_patch_and_its_place():
    sheet = np.asarray(concept_sheet(concepts(0.1, 0.9), lambda file: PICTURE))
    top = sheet.shape[0] - 2 * (2 * TILE + 4 * GAP)  # of the first row's line
    left = GAP + TEXT
    patch = sheet[top + GAP : top + GAP + TILE, left : left + TILE]
    assert np.all(patch == PICTURE[0, 0])
    place = sheet[top + 2 * GAP + TILE :, left : left + TILE][:TILE]
    assert np.all(place[10:40, 10:40] == PICTURE[0, 0])
    assert np.all(place[70:, 70:] == (PICTURE[0, 0] * DIM).astype(np.uint8))
    # What speaks for the word comes first, whatever its number.
    rows = sheet[top:, :TEXT], sheet[top + 2 * TILE + 4 * GAP :, :TEXT]
    assert np.any(np.all(rows[0] == FOR, -1)) and not np.any(np.all(rows[1] == FOR, -1))
    assert np.any(np.all(rows[1] == AGAINST, -1))


def test_chance_is_shown_in_grey_and_other_pictures_are_refused():
    nothing = np.asarray(concept_sheet(concepts(), lambda file: PICTURE))
    assert len(nothing) < TILE and np.any(nothing != PAPER)
    chance = np.asarray(concept_sheet(concepts(0.9, 0.1, p=0.5), lambda file: PICTURE))
    words = chance[:, :TEXT]
    assert len(chance) > 4 * TILE and np.any(np.all(words == PALE, -1))
    assert not np.any(np.all(words == FOR, -1)) and not np.any(np.all(words == AGAINST, -1))
    with pytest.raises(ValueError, match="give the folder and model of the fit"):
        concept_sheet(concepts(0.9), lambda file: PICTURE[:16])
