"""The options of `python -m capjax.audit`."""

import argparse

from capjax.runtime import locks
from capjax.runtime.command_line import at_least_one, refuse_repeated

PROGRAM = "python -m capjax.audit"
FORMATS = {"both": ("csv", "parquet"), "csv": ("csv",), "parquet": ("parquet",)}
DESCRIPTION = """
Answers questions about a whole run of explain.py from what it stored: which words are said without
looking, look at the wrong place or are not to be believed, which maps say nothing or are the same,
where each word looks on average, which captions return, which objects and groups of images matter.
Reads the folder of results image by image, and changes nothing in it.
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog="exit codes: 0 done; 1 --out could not be written to the end; 2 wrong usage",
    )
    refuse_repeated(parser)
    add = parser.add_argument
    add("--results", required=True, help="folder that explain.py wrote (its --out), or its address")
    add("--out", required=True, help="folder of the audit; an earlier audit in it is replaced")
    add(
        "--boxes",
        metavar="COCO_JSON",
        help="objects of the images, COCO instances: do words look at what they name?",
    )
    add(
        "--against",
        metavar="DIR",
        help="results of another run over the same images: another model, method or checkpoint",
    )
    add(
        "--query",
        action="append",
        default=[],
        help="rank images by this sentence, of those that the run explained with --query; may be "
        "repeated (default: all of them)",
    )
    add(
        "--by",
        metavar="COLUMN[,COLUMN…]",
        help="compare groups of images by what the run stored beside them, or by columns of "
        "--metadata; of a column of many different numbers the quarters are groups",
    )
    add(
        "--metadata",
        metavar="CSV",
        help="what is known of the images, in place of what the run stored: headings, then a line "
        "an image, which a column file, image, name or path names, else the first one",
    )
    add(
        "--least",
        type=at_least_one,
        default=10,
        metavar="N",
        help="images from which a word, or a group of images, is told (default 10)",
    )
    add(
        "--most-words",
        type=at_least_one,
        default=1000,
        metavar="N",
        help="ask about so many words, the most frequent ones (default 1000); memory grows with "
        "the square of this number, not with the images",
    )
    add(
        "--examples",
        type=at_least_one,
        default=12,
        metavar="N",
        help="images to show for each question (default 12)",
    )
    add(
        "--function-words",
        metavar="TOML",
        help="words that name nothing in a picture, which are not asked about (default: those of "
        "English in capjax/data/function_words.toml)",
    )
    add(
        "--tables",
        choices=tuple(FORMATS),
        default="both",
        help="files of each table (default both; Parquet needs the extra capjax[parquet])",
    )
    add(locks.BREAK, action="store_true", help="a process of another machine is dead: go on")
    return parser
