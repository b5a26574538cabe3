"""The inpainter that comes with capjax: small, lawful to pass on, nearer than simple fills."""

import json

import numpy as np
import PIL.Image
import pytest

from capjax.captioner import SHIPPED
from capjax.data.samples import names, photograph
from capjax.inpaint.checkpoints import load_inpainter, shipped_inpainters
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.blur import Blur
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.mean import Mean
from capjax.inpaint.inpainter import INPAINTER_FILE

NAME = "inpaint-small"


def test_it_is_small_and_says_what_it_learnt_from():
    assert shipped_inpainters() == [NAME]
    folder = SHIPPED / NAME
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    assert '"/' not in (folder / INPAINTER_FILE).read_text()  # a place of its maker
    card = load_inpainter(NAME).card
    assert card["data"]["licences"] == "4,5,7" and card["data"]["train"]["images"] == 567
    assert "567 photographs" in card["learnt_from"]
    assert "Apache-2.0" in card["licences"]["inpainter"]
    assert json.loads((folder / INPAINTER_FILE).read_text())["card"]["step"] == 2500


@pytest.mark.parametrize("other", [Mean(), Blur()], ids=["mean", "blur"])
def test_it_is_nearer_to_what_was_there(other):
    images, masks = [], []
    for number, name in enumerate(names()):
        image = np.asarray(PIL.Image.open(photograph(name)).convert("RGB").resize((192, 192)))
        for left in (30, 110):
            mask = np.zeros((192, 192), bool)
            mask[40 + 20 * number :, left:][:44, :44] = True
            images.append(image)
            masks.append(mask)

    def error(fill):
        found = Around(dilate=0, feather=0)(fill, np.stack(images), np.stack(masks))
        apart = np.abs(found.astype(float) - np.stack(images))
        return np.mean([apart[own][mask].mean() for own, mask in enumerate(masks)])

    assert error(Gated(checkpoint=NAME)) < error(other)
