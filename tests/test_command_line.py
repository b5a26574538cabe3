"""How a captioner writes: options, then the model's card, then what is usual."""

import argparse
import dataclasses
import json

import pytest

from capjax.captioner import MODEL_FILE, SHIPPED
from capjax.command_line import add_decoding_options, chosen_decoding
from capjax.decoding import Beam, Greedy, HuggingFaceBeam, default_decoding, describe
from tests.test_captioner import make

THEIRS = describe(HuggingFaceBeam(4, early_stopping=True), 15)


def chosen(arguments, card=None):
    parser = argparse.ArgumentParser()
    add_decoding_options(parser)
    captioner = dataclasses.replace(make(), card={"decoding": card} if card else {})
    return chosen_decoding(parser.parse_args(arguments.split()), captioner)


def test_a_card_of_before_says_it_by_the_settings_of_the_training():
    shipped = json.loads((SHIPPED / "scenes-soft" / MODEL_FILE).read_text())["card"]
    assert "decoding" not in shipped and "search" not in shipped["config"]["evaluation"]
    assert default_decoding(dataclasses.replace(make(), card=shipped)) == (Beam(3), 24)
    evaluation = {"search": "huggingface", "beam": 2, "length_penalty": 0.7}
    card = {"config": {"evaluation": evaluation, "data": {"max_length": 12}}}
    captioner = dataclasses.replace(make(), card=card)
    assert default_decoding(captioner) == (HuggingFaceBeam(2, 0.7), 12)
    said = {**card, "decoding": describe(Greedy(), 9)}
    assert default_decoding(dataclasses.replace(make(), card=said)) == (Greedy(), 9)


def test_a_card_says_how_a_model_writes():
    assert default_decoding(make()) == (Beam(3), 25)
    assert chosen("", THEIRS) == (HuggingFaceBeam(4, early_stopping=True), 15)
    assert chosen("", describe(Greedy(), 9)) == (Greedy(), 9)


@pytest.mark.parametrize(
    ("arguments", "card", "expected"),
    [
        ("", None, (Beam(3), 25)),
        ("--beam=1 --max-length=7", None, (Beam(1), 7)),
        ("--length-penalty=0", None, (Beam(3, 0.0), 25)),
        ("--search=huggingface", None, (HuggingFaceBeam(4), 25)),
        ("--beam=2", THEIRS, (HuggingFaceBeam(2, early_stopping=True), 15)),
        ("--search=huggingface", THEIRS, (HuggingFaceBeam(4, early_stopping=True), 15)),
        ("--search=beam --max-length=20", THEIRS, (Beam(3), 20)),
        ("--search=beam --beam=4", describe(Greedy(), 9), (Beam(4), 9)),
    ],
)
def test_options_go_before_the_card(arguments, card, expected):
    assert chosen(arguments, card) == expected


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match="writes with Greedy, which has no width; add --search"):
        chosen("--beam=3", describe(Greedy(), 9))
    with pytest.raises(ValueError, match="a method of beam, huggingface, greedy, sample"):
        chosen("", {"method": "magic", "max_length": 3})
    with pytest.raises(ValueError, match="unexpected keyword argument 'depth'"):
        chosen("", {"method": "beam", "depth": 3, "max_length": 3})


def test_a_description_names_everything():
    assert THEIRS == {
        "method": "huggingface",
        "width": 4,
        "length_penalty": 1.0,
        "early_stopping": True,
        "counts": "generated",
        "max_length": 15,
    }
