"""The moving scenes: true to their captions frame by frame, the same wherever drawn."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from capjax.data.pictures.clips import load_clip
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.pictures.images import prepare
from capjax.data.scenes import moving as moving_scenes
from capjax.data.scenes import moving_frames
from capjax.data.scenes.grammar import COLOURS, HELD_OUT_PAIRS, SHAPES, SIZES
from capjax.data.scenes.moving import FRAMES, MovingSceneImages, MovingScenes, moving_scene
from capjax.data.scenes.moving_grammar import HELD_OUT_ACTIONS, VERBS, describe
from capjax.data.scenes.moving_render import render
from capjax.types import Preprocessing

STAYS_PUT = {"jumps", "spins", "shakes", "glows", "sparkles", "splits"}
SOURCE = MovingScenes("val", 1000)


@pytest.fixture(scope="module")
def clips():
    return list(MovingScenes("val", 120))


@pytest.fixture(scope="module")
def plots():
    return [SOURCE.plot(index)[0] for index in range(600)]


def test_clip_depends_on_seed_split_and_index_alone():
    alone = moving_scene(7, split="val", seed=3)
    among = MovingScenes("val", 9, seed=3)[2:9][5]
    assert np.array_equal(alone.frames, among.frames)
    assert alone.caption == among.caption and alone.events == among.events
    for other in (
        moving_scene(8, split="val", seed=3),
        moving_scene(7, split="test", seed=3),
        moving_scene(7, split="val", seed=4),
    ):
        assert other.caption != alone.caption


def test_captions_without_rendering_are_those_of_the_clips():
    source = MovingScenes("train", 6)
    assert source.captions() == [(clip.caption,) for clip in source]


def test_caption_tells_the_events_in_order(clips):
    """The caption, rebuilt from the objects and the events by the rules of the grammar."""
    for clip in clips:
        sentences, before, known = [], None, set()
        for event in sorted(clip.events, key=lambda event: event.start):
            item = clip.objects[event.object_index]
            name = f"{item.colour} {item.shape}"
            subject = f"the {name} " if event.object_index in known else f"a {item.size} {name} "
            sentences.append(("" if event.object_index == before else subject) + event.verb)
            before = event.object_index
            known.add(before)
        assert clip.caption == " and then ".join(sentences)


def test_spans_are_the_words_of_objects_and_verbs(clips):
    for clip in clips:
        words = clip.caption.split()
        for mention in clip.mentions:
            item, phrase = clip.objects[mention.object_index], words[mention.start : mention.end]
            assert phrase in ([item.size, item.colour, item.shape], [item.colour, item.shape])
            assert words[mention.start - 1] == ("a" if len(phrase) == 3 else "the")
        for event in clip.events:
            assert " ".join(words[slice(*event.words)]) == event.verb
        spoken = {*SHAPES, *COLOURS, *SIZES, *" ".join(VERBS).split()}
        spans = [(m.start, m.end) for m in clip.mentions] + [e.words for e in clip.events]
        inside = [n for start, end in spans for n in range(start, end)]
        assert sorted(inside) == [n for n, word in enumerate(words) if word in spoken]


def test_every_coloured_object_acts_and_no_grey_one(clips):
    for clip in clips:
        acting = {event.object_index for event in clip.events}
        assert acting == {n for n, item in enumerate(clip.objects) if item.mentioned}
        assert all((item.colour == "grey") != item.mentioned for item in clip.objects)
        coloured = [item for item in clip.objects if item.mentioned]
        assert len({item.colour for item in coloured}) == len(coloured) in (1, 2)
        assert len({item.shape for item in coloured}) == len(coloured)


def test_no_two_events_at_once_and_rest_around_each(plots):
    for plot in plots:
        ends = [0, *(event.end for event in plot.events)]
        starts = [*(event.start for event in plot.events), FRAMES]
        assert all(start > end for end, start in zip(ends, starts, strict=True))
        firsts = [event.verb.split()[0] for event in plot.events]
        assert len(set(firsts)) == len(firsts)


def test_a_picture_changes_only_while_something_happens(clips):
    for clip in clips:
        busy = np.zeros(FRAMES, bool)
        for event in clip.events:
            busy[event.start : event.end] = True
            if event.verb in STAYS_PUT:  # all is as before
                assert np.array_equal(clip.frames[event.start - 1], clip.frames[event.end])
        changed = (clip.frames[1:] != clip.frames[:-1]).any(axis=(1, 2, 3))
        assert not changed[~busy[1:] & ~busy[:-1]].any()


def test_every_frame_of_an_action_shows_it_and_no_other_does():
    """Against the same clip without the event: it differs where the event says, and well."""
    checked = collections.Counter()
    for index in range(60):
        plot, generator = SOURCE.plot(index)
        drawn = generator.bit_generator.state
        frames, boxes = render(plot, generator)
        for number, event in enumerate(plot.events):
            if event.verb not in STAYS_PUT:
                continue
            others = (*plot.events[:number], *plot.events[number + 1 :])
            generator.bit_generator.state = drawn
            without, _ = render(dataclasses.replace(plot, events=others), generator)
            difference = np.abs(frames.astype(int) - without).max(axis=3)
            shows = (difference > 24).sum(axis=(1, 2))
            inside = np.zeros(FRAMES, bool)
            inside[event.start : event.end] = True
            assert (difference[~inside] == 0).all()
            assert shows[inside].min() >= 20, (index, event, shows[inside])
            checked[event.verb] += 1
    assert set(checked) == STAYS_PUT


def test_moves_go_where_the_verb_says_and_leave_streaks_behind(clips):
    directions = {"slides left": (-1, 0), "slides right": (1, 0), "rises": (0, -1), "falls": (0, 1)}
    seen = set()
    for clip in clips:
        for event in clip.events:
            if event.verb not in directions:
                continue
            seen.add(event.verb)
            x, y = directions[event.verb]
            boxes = clip.objects[event.object_index].boxes.astype(float)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            moved = centres[event.end] - centres[event.start - 1]
            assert moved @ (x, y) > 6 and abs(moved @ (y, x)) <= 1
            steps = np.diff(centres[event.start - 1 : event.end + 1] @ (x, y))
            assert (steps >= -0.5).all()
            # What has changed since the frame before the event, apart from the object, lies
            # behind it.
            middle = (event.start + event.end) // 2
            before, now = clip.frames[event.start - 1].astype(int), clip.frames[middle]
            rows, columns = np.nonzero(np.abs(now - before).max(axis=2) > 24)
            x0, y0, x1, y1 = clip.objects[event.object_index].boxes[middle]
            out = ~((x0 <= columns) & (columns <= x1) & (y0 <= rows) & (rows <= y1))
            behind = (np.stack([columns, rows], axis=1)[out] - centres[middle]) @ (x, y)
            assert out.sum() >= 10 and np.mean(behind < 0) > 0.9
    assert seen == set(directions)


def test_boxes_are_those_of_the_coloured_pixels(clips):
    """At rest, what differs from the background around an object is its box, to a pixel."""
    for clip in clips[:60]:
        acting = {n for e in clip.events for n in range(e.start, e.end)}
        for number in set(range(FRAMES)) - acting:
            frame = clip.frames[number].astype(int)
            # Backgrounds are muted: their channels differ by less than 30.
            vivid = frame.max(axis=2) - frame.min(axis=2) > 60
            boxes = np.zeros_like(vivid)
            for item in clip.objects:
                if item.mentioned:
                    x0, y0, x1, y1 = item.boxes[number]
                    boxes[y0 : y1 + 1, x0 : x1 + 1] = True
                    inside = vivid[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2]
                    rows, columns = np.nonzero(inside)
                    found = (columns.min(), rows.min(), columns.max(), rows.max())
                    expected = (1, 1, x1 - x0 + 1, y1 - y0 + 1)
                    assert np.abs(np.subtract(found, expected)).max() <= 1
            assert not (vivid & ~_grown(boxes)).any()


def _grown(mask):
    """With a rim of a pixel."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifts = [(y, x) for y in range(3) for x in range(3)]
    return np.any([padded[y : y + height, x : x + width] for y, x in shifts], axis=0)


def test_nothing_touches_and_nothing_leaves_the_frame(clips):
    for clip in clips:
        height, width = clip.frames.shape[1:3]
        boxes = np.stack([item.boxes for item in clip.objects])
        assert (boxes[..., :2] >= 1).all()
        assert (boxes[..., 2] < width - 1).all() and (boxes[..., 3] < height - 1).all()
        for one in range(len(boxes)):
            for other in range(one):
                low = np.maximum(boxes[one, :, :2], boxes[other, :, :2])
                high = np.minimum(boxes[one, :, 2:], boxes[other, :, 2:])
                assert not (low <= high).all(axis=1).any()


def test_sizes_cannot_be_confused(plots):
    sides = {"small": [], "large": []}
    for plot in plots:
        for thing in plot.things:
            if thing.mentioned:
                sides[thing.size].append(thing.diameter / min(plot.height, plot.width))
    assert max(sides["small"]) * 1.3 < min(sides["large"])
    share = len(sides["large"]) / (len(sides["large"]) + len(sides["small"]))
    assert 0.3 < share < 0.6


def test_pointing_at_random_in_time_does_not_pay(plots):
    shares = [(e.end - e.start) / FRAMES for plot in plots for e in plot.events]
    middle = [e.start <= FRAMES // 2 < e.end for plot in plots for e in plot.events]
    assert 0.2 < np.mean(shares) <= 0.3
    assert np.mean(middle) <= 0.35


def test_clips_are_varied(plots):
    counts = collections.Counter(len(plot.events) for plot in plots)
    assert min(counts[1], counts[2], counts[3]) > 60 and set(counts) == {1, 2, 3}
    verbs = collections.Counter(event.verb for plot in plots for event in plot.events)
    assert set(verbs) == set(VERBS) and min(verbs.values()) > 0.4 * max(verbs.values())
    assert {(plot.height, plot.width) for plot in plots} == set(moving_scenes.FRAME_SIZES)
    things = [thing for plot in plots for thing in plot.things if thing.mentioned]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    # The order of events cannot be guessed from which happen.
    two = [[e.verb for e in plot.events] for plot in plots if len(plot.events) == 2]
    first = np.mean([VERBS.index(a) < VERBS.index(b) for a, b in two])
    assert 0.4 < first < 0.6


def test_thousands_of_captions():
    captions = MovingScenes("train", 4000).captions()
    assert len(set(captions)) >= 3000


def test_pairs_are_held_out_of_training_only(plots):
    def pairs(source):
        things = [(t.colour, t.shape) for plot in source for t in plot.things if t.mentioned]
        acts = [(e.verb, plot.things[e.actor].shape) for plot in source for e in plot.events]
        return set(things), set(acts)

    train = MovingScenes("train", 1500)
    things, acts = pairs(train.plot(index)[0] for index in range(1500))
    assert not things & HELD_OUT_PAIRS and not acts & HELD_OUT_ACTIONS
    things, acts = pairs(plots)
    assert things >= HELD_OUT_PAIRS and acts >= HELD_OUT_ACTIONS


def test_images_are_prepared_as_asked():
    source = MovingScenes("val", 5)
    preprocessing = Preprocessing(size=(48, 40), frames=7)
    batch = MovingSceneImages(source, preprocessing)(np.array([4, 1]))
    assert batch["image"].shape == (2, 7, 48, 40, 3) and batch["image"].dtype == np.uint8
    chosen = source[4].frames[frame_indices(FRAMES, 7)]
    expected = np.stack([prepare(frame, preprocessing)[0] for frame in chosen])
    assert np.array_equal(batch["image"][0], expected)
    with pytest.raises(ValueError, match="frames, e.g. 26"):
        MovingSceneImages(source, Preprocessing(size=(48, 40)))


def test_single_frames_and_what_they_show():
    source = MovingScenes("val", 120)
    captions = moving_frames.frame_captions(source)
    said = collections.Counter()
    for number, (caption,) in enumerate(captions):
        plot, _ = source.plot(number)
        frame = moving_frames.picked_frame(source, number, plot)
        acting = [e for e in plot.events if e.start <= frame < e.end]
        coloured = [t for t in plot.things if t.mentioned]
        names = [f"a {t.size} {t.colour} {t.shape}" for t in coloured]
        assert all(name in caption for name in names)
        told = [verb for verb in VERBS if verb in caption]
        assert told == [e.verb for e in acting]
        if acting:
            actor = plot.things[acting[0].actor]
            assert caption.startswith(f"a {actor.size} {actor.colour} {actor.shape} {told[0]}")
        said[bool(acting), len(coloured)] += 1
    assert len(said) == 4
    images = moving_frames.MovingFrames(source, Preprocessing(size=(32, 40)))
    plot, _ = source.plot(3)
    whole = source[3].frames[moving_frames.picked_frame(source, 3, plot)]
    picture, _ = prepare(whole, images.preprocessing)
    assert np.array_equal(images(np.array([3]))["image"][0], picture)


def test_folder_holds_the_clips(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    arguments = ["--out", str(tmp_path / "m"), "--n", "4", "--split", "test", "--seed", "2"]
    assert moving_scenes.main(arguments) == 0
    captions = json.loads((tmp_path / "m/captions_test.json").read_text())
    tracks = json.loads((tmp_path / "m/tracks_test.json").read_text())
    names = {category["id"]: category["name"] for category in tracks["categories"]}
    for entry, said, clip in zip(
        captions["images"],
        captions["annotations"],
        MovingScenes("test", 4, seed=2),
        strict=True,
    ):
        loaded = load_clip(tmp_path / "m/clips" / entry["file_name"], FRAMES)
        assert (entry["frames"], entry["height"], entry["width"]) == clip.frames.shape[:3]
        assert np.abs(loaded.frames.astype(int) - clip.frames).mean() < 3
        assert said["image_id"] == entry["id"] and said["caption"] == clip.caption
        there = {t["id"]: t for t in tracks["annotations"] if t["image_id"] == entry["id"]}
        for (start, end, identity), mention in zip(said["mentions"], clip.mentions, strict=True):
            assert (start, end) == (mention.start, mention.end)
            item, track = clip.objects[mention.object_index], there[identity]
            x, y, width, height = np.array(track["boxes"]).T
            corners = np.stack([x, y, x + width - 1, y + height - 1], axis=1)
            assert np.array_equal(corners, item.boxes)
            assert names[track["category_id"]] == item.shape == track["shape"]
        for row, event in zip(said["events"], clip.events, strict=True):
            start, end, identity, first, last = row
            assert (start, end) == event.words and (first, last) == (event.start, event.end)
            assert there[identity]["shape"] == clip.objects[event.object_index].shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "dev", 0, 26), "train, val, test"),
        ((-1, "val", 0, 26), "0 or more"),
        ((0, "val", -1, 26), "0 or more"),
        ((0, "val", 0, 8), "16 or more"),
    ],
)
def test_wrong_requests_are_explained(arguments, message):
    index, split, seed, frames = arguments
    with pytest.raises(ValueError, match=message):
        moving_scene(index, split=split, seed=seed, frames=frames)


def test_no_clip_beyond_the_last():
    with pytest.raises(IndexError, match="there are 3"):
        MovingScenes("val", 3)[3]
    with pytest.raises(ValueError, match="one or more"):
        MovingScenes("val", 0)


@pytest.mark.parametrize("frames", [16, 17, 26, 40])
def test_any_number_of_frames(frames):
    for index in range(60):
        plot, _ = moving_scenes.sampled_plot(index, "train", 0, frames)
        ends = [0, *(event.end for event in plot.events)]
        starts = [*(event.start for event in plot.events), frames]
        assert all(start > end for end, start in zip(ends, starts, strict=True))
        assert all(event.end - event.start >= 3 for event in plot.events)
        assert describe(plot)[0]
