"""Marks of doubtful words in the viewer: not by colour alone, and nothing escapes."""

import dataclasses
import re

from capjax.types import WordDoubt
from capjax.viz.report.doubts import doubted, doubts_legend, percent
from capjax.viz.report.page import item_html
from tests.viz.test_report import NASTY, Links, item


def doubt(start, chance, reason="few captions name such a thing", word="red"):
    return WordDoubt(start, start + 1, word, ("thing",), chance, reason, {"bits": 0.5})


def test_doubtful_words_are_marked_with_their_reason_and_nothing_escapes():
    page = item_html(item(doubts=[doubt(1, 0.72, f"said because {NASTY}", NASTY)]))
    assert len(Links(page).loaded) == 1
    first, second = re.findall(r'<button type="button" class="(word[^"]*)".*?</button>', page)
    assert (first, second) == ("word", "word doubtful")
    assert re.search(r'<small class="doubt" title="[^"<]*said because [^"<]*">\? 72 %<', page)
    (listed,) = re.findall(r'<ul class="doubts" aria-label="doubtful words"><li>(.*?)</li>', page)
    assert "is doubtful (72 %): said because" in listed and "<" not in listed
    assert "doubt" not in item_html(item())


def test_of_a_query_the_captions_doubts_are_listed_and_no_word_is_marked():
    page = item_html(item(query="[a red] dog", doubts=[doubt(0, 0.9)]))
    assert "“red” is doubtful (90 %)" in page and 'class="doubt"' not in page


def test_only_words_from_the_threshold_on_are_marked_and_all_are_counted():
    doubts = [doubt(0, 0.5), doubt(1, 0.49)]
    assert doubted(doubts, 0.5) == (doubts[0],) and doubted(None, 0.0) == ()
    assert doubted([dataclasses.replace(doubts[1], hallucinated=0.0)], 0.0)
    (told,) = doubts_legend((3, 1), 0.5).values()
    assert told.startswith("1 of 3 object words") and "50 %" in told
    assert doubts_legend((), 0.5) == {}
    assert [percent(share) for share in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        *("0 %", "under 1 %", "50 %", "over 99 %", "100 %")
    ]
