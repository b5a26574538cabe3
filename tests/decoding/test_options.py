"""How a captioner writes: options, then the model's card, then what is usual."""

import argparse
import dataclasses
import json

import pytest

from capjax.captioner import MODEL_FILE, SHIPPED
from capjax.decoding import Beam, Greedy, HuggingFaceBeam, default_decoding, describe
from capjax.decoding.options import add_decoding_options, chosen_decoding
from capjax.evaluate import __main__ as evaluate
from capjax.evaluate.grounding_options import check_flags
from capjax.explainers.targets import Questions
from capjax.folder.options import chosen_queries, make_parser
from capjax.folder.queries import Queries
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


@pytest.mark.parametrize(
    "card",
    [
        *({"config": {name: held}} for name in ("evaluation", "data") for held in (None, "x", [1])),
        {"config": {"data": {"max_length": None}}},
        {"config": {"evaluation": {"beam": None}}},
        {"config": {"evaluation": {"search": "other"}}},
        *({"decoding": held} for held in (None, "beam", [1], {}, {"method": "beam"})),
        {"decoding": {"method": "other", "max_length": 9}},
        {"decoding": {"method": "beam", "max_length": None}},
        {"decoding": {"method": ["beam"], "max_length": 9}},
    ],
)
def test_a_card_that_says_nothing_clear_is_refused(card):
    with pytest.raises(ValueError, match="the model's card has the decoding .*expected a method"):
        default_decoding(dataclasses.replace(make(), card=card))


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


@pytest.mark.parametrize(
    ("parser", "arguments", "said"),
    [
        (evaluate._parser, "--split=a --split=b", "--split: given twice"),
        (evaluate._parser, "--captions=a --captions=a", "--captions: given twice"),
        (evaluate._parser, "--boxes=a --boxes=b", "--boxes: given twice"),
        (evaluate._parser, "--tolerance=-5", "--tolerance: got -5, expected 0 or more"),
        (evaluate._parser, "--tolerance=nan", "--tolerance: got 'nan', expected a number"),
        (evaluate._parser, "--length-penalty=inf", "--length-penalty: got 'inf', expected a num"),
        (evaluate._parser, "--length-penalty=long", "--length-penalty: got 'long', expected a num"),
        (evaluate._parser, "--beam=0", "--beam: got '0', expected a whole number from 1"),
        (evaluate._parser, "--beam=2.5", "--beam: got '2.5', expected a whole number from 1"),
        (evaluate._parser, "--max-length=-1", "--max-length: got '-1', expected a whole number"),
        (evaluate._parser, "--batch-size=many", "--batch-size: got 'many', expected a whole"),
        (make_parser, "--images a --images b", "--images: given twice"),
        (make_parser, "--batch-size=0", "--batch-size: got '0', expected a whole number from 1"),
    ],
)
def test_options_without_sense_are_refused(parser, arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def of_evaluate(arguments):
    return evaluate._parser().parse_args(
        ["--model=m", "--captions=c", "--out=o", *arguments.split()]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--boxes=b", "--boxes would have no effect: maps are scored with --grounding"),
        ("--methods=caption_guided", "--methods would have no effect"),  # the default, said
        ("--ties=mean --tolerance=3", "--tolerance and --ties would have no effect"),
        ("--entities=e --object-words=w", "--entities and --object-words would have no effect"),
        ("--grounding --boxes=b --entities=e", "--boxes would have no effect: --entities says"),
        ("--grounding --entities=e --object-words=w", "--object-words would have no effect"),
        ("--grounding --faithfulness --boxes=b --concepts c", "goes with --grounding alone"),
        ("--grounding --queries=captions", "--queries would have no effect: nothing says where"),
    ],
)
def test_flags_of_grounding_without_effect_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        check_flags(of_evaluate(arguments))


@pytest.mark.parametrize(
    "arguments",
    ["", "--crop=central", "--grounding", "--grounding --boxes=b --ties=mean --queries=predicted"],
)
def test_flags_with_effect_are_taken(arguments):
    check_flags(of_evaluate(arguments))


def test_unknown_words_are_those_of_a_query():
    needed = ["--model=m", "--images", "i", "--out=o"]
    others = (make(), {}, [], Questions(), print)
    with pytest.raises(ValueError, match="--unknown-words would have no effect: .* a --query"):
        chosen_queries(make_parser().parse_args([*needed, "--unknown-words=skip"]), *others)
    with pytest.raises(ValueError, match="--unknown-words would have no effect"):
        chosen_queries(make_parser().parse_args([*needed, "--unknown-words=token"]), *others)
    assert chosen_queries(make_parser().parse_args(needed), *others) == Queries()


def test_one_beam_ranks_nothing():
    with pytest.raises(ValueError, match="--length-penalty would have no effect: one beam ranks"):
        chosen("--beam=1 --length-penalty=0.7")
    with pytest.raises(ValueError, match="one beam ranks nothing; add --beam=3"):
        chosen("--length-penalty=0.7", describe(Beam(1), 9))
    assert chosen("--beam=1", describe(Beam(3, 0.7), 9)) == (Beam(1, 0.7), 9)


def test_a_description_names_everything():
    assert THEIRS == {
        "method": "huggingface",
        "width": 4,
        "length_penalty": 1.0,
        "early_stopping": True,
        "counts": "generated",
        "max_length": 15,
    }
