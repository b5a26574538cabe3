"""Caption-guided saliency of three clips, from their files on, one item at a time in PyTorch.

    python -m tests.golden.clip_maps      # writes clip_{varying,short,turned}.* and clip_maps.npz

Equations 6, 7 and 13 of Ramanishka et al. 2017 for the S2VT captioner of that paper, written out in
float64. Nothing here is capjax's: FFmpeg's own program writes the clips and reads them, turned as
they ask for; frames are chosen, resized, encoded and read by what follows. The clips are stored
without loss in RGB, so that they decode to the same numbers everywhere. Weights are never stored:
both sides make them from a name. Made with torch 2.13 and FFmpeg 9.0 (imageio-ffmpeg 0.6).
"""

import re
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parent
OUTPUTS = FOLDER / "clip_maps.npz"
FRAMES, SIDE, DEPTH, HIDDEN, EMBEDDING = 26, 32, 24, 16, 10
GRID = (8, 8)
WORDS = ("a", "man", "rides", "two", "dogs", "run", "horse", "the", "on", "beach", "red", "ball")
QUERY = "two dogs run on the beach"
TOKENS = (7, 8, 9, 12, 11, 13, 2)  # four special entries come first; the third one ends a sentence
VOCABULARY = 4 + len(WORDS)
SPARSE = 7  # of the positions of a frame, one in so many is stored
SHAPES = {
    "params/encoder/stage0/kernel": (4, 4, 3, 8),
    "params/encoder/stage1/kernel": (4, 4, 8, DEPTH),
    "params/encoder/stage1_residual0/kernel": (3, 3, DEPTH, DEPTH),
    "params/encoder/place": (4, DEPTH),
    **{
        f"{collection}/encoder/{layer}_norm/{leaf}": (width,)
        for layer, width in (("stage0", 8), ("stage1", DEPTH), ("stage1_residual0", DEPTH))
        for collection, leaf in (
            *(("params", "scale"), ("params", "bias")),
            *(("batch_stats", "mean"), ("batch_stats", "var")),
        )
    },
    "params/decoder/embedding": (VOCABULARY, EMBEDDING),
    "params/decoder/feature_kernel": (DEPTH, HIDDEN),
    "params/decoder/feature_bias": (HIDDEN,),
    "params/decoder/lstm_features": (HIDDEN, 4 * HIDDEN),
    "params/decoder/lstm_embedding": (EMBEDDING, 4 * HIDDEN),
    "params/decoder/lstm_recurrent": (HIDDEN, 4 * HIDDEN),
    "params/decoder/lstm_bias": (4 * HIDDEN,),
    "params/decoder/head_kernel": (HIDDEN, VOCABULARY),
    "params/decoder/head_bias": (VOCABULARY,),
}


class Film(NamedTuple):
    """A clip and how a captioner wants its frames.

    Attributes:
      file: name beside this script.
      begins: when each frame begins, in milliseconds.
      codec: options of FFmpeg that store RGB without loss.
      ticks: of a second, in which the file counts time.
      filter: "triangle" or "cubic".
      shorter: 0 to squash frames to SIDE x SIDE, otherwise the shorter side before the crop.
      turned: whether it was filmed upright with the camera on its side.
    """

    file: str
    begins: tuple[int, ...]
    codec: tuple[str, ...]
    ticks: int = 1000
    filter: str = "triangle"
    shorter: int = 0
    turned: bool = False


H264 = ("-c:v", "libx264rgb", "-qp", "0", "-preset", "veryslow")
FILMS = {
    "varying": Film(
        "clip_varying.mkv",
        tuple(np.cumsum([0, *[40] * 9, 700, *[20] * 11, 80, 1300, *[40, 80] * 8]).tolist()),
        H264,
    ),
    "short": Film(
        "clip_short.avi",
        tuple(range(0, 900, 100)),
        ("-c:v", "ffv1", "-pix_fmt", "bgr0"),
        ticks=10,
        filter="cubic",
    ),
    "turned": Film("clip_turned.mp4", tuple(range(0, 1550, 50)), H264, shorter=36, turned=True),
}

PHONE = Film(
    file="phone.mp4",
    begins=tuple(range(0, 1200, 40)),
    codec=("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    shorter=36,
    turned=True,
)
"""With losses, as telephones film: made and compared where FFmpeg's program is, never stored."""


def weights() -> dict[str, np.ndarray]:
    """Every array of the captioner, by its name; float32 as a model holds them."""
    state = {}
    for name, shape in SHAPES.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
        scale = 1.5 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.5
        value = scale * random.standard_normal(shape)
        state[name] = (1 + value**2 if name.endswith(("scale", "var")) else value).astype("f4")
    return state


def painted(film: Film) -> np.ndarray:
    """[N 40 56 3] tiles of random colours, some of which change from frame to frame."""
    random = np.random.RandomState(zlib.crc32(film.file.encode()))
    tiles = random.randint(0, 256, (5, 7, 3))
    frames = []
    for _ in film.begins:
        for _ in range(4):
            tiles[random.randint(5), random.randint(7)] = random.randint(0, 256, 3)
        frames.append(tiles.repeat(8, axis=0).repeat(8, axis=1))
    return np.array(frames, np.uint8)


def ffmpeg(*options: str, given: bytes = b"") -> tuple[bytes, str]:
    """(Standard output, log) of FFmpeg's program."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *options]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def write_film(film: Film, path: Path) -> None:
    frames = painted(film)
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    rate = str(1000 // min(np.diff(film.begins)))  # tells how long the last frame shows
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-framerate", rate, "-i", "-"]
    times = "+".join(f"eq(N,{number})*{begin}" for number, begin in enumerate(film.begins))
    timed = ["-vf", f"settb=1/1000,setpts='{times}'", "-enc_time_base", f"1:{film.ticks}"]
    pace = ["-fps_mode", "passthrough", "-bitexact"]
    straight = path.with_stem(f"{path.stem}_straight") if film.turned else path
    ffmpeg(*given, *timed, *pace, *film.codec, str(straight), given=frames.tobytes())
    if film.turned:
        turn = ["-display_rotation", "90", "-i", str(straight)]
        ffmpeg(*turn, "-c", "copy", "-bitexact", str(path))
        straight.unlink()


def decoded(path: Path) -> tuple[np.ndarray, list[int]]:
    """(Frames [N H W 3] as a player shows them, when each begins and the last one ends [N + 1] in
    milliseconds)."""
    shown = ["-vf", "showinfo", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    pixels, log = ffmpeg("-i", str(path), *shown, "-")
    told = re.findall(r"pts_time:(\S+) .*duration_time:(\S+) .* s:(\d+)x(\d+)", log)
    width, height = map(int, told[0][2:])
    times = [float(begin) for begin, *_ in told] + [float(told[-1][0]) + float(told[-1][1])]
    frames = np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)
    return frames, [round(1000 * (time - times[0])) for time in times]


def chosen(times: Sequence[int]) -> list[tuple[int, float]]:
    """(Number, seconds) of each frame that is seen: evenly spread over the clip of constant rate in
    which every frame is repeated for as long as it shows."""
    lengths = np.diff(times)
    tick = np.gcd.reduce(lengths)
    repeated = np.arange(len(lengths)).repeat(lengths // tick)
    places = [round(place) for place in np.linspace(0, len(repeated) - 1, FRAMES)]
    return [(int(repeated[place]), place * tick / 1000) for place in places]


def resized(image: np.ndarray, axis: int, size: int, filter: str) -> np.ndarray:
    """Bytes along one axis: a weighted mean around each new pixel's centre, rounded."""
    length = image.shape[axis]
    step = length / size
    wide = max(step, 1.0)
    rows = np.moveaxis(image, axis, 0).astype(np.float64)
    found = []
    for place in range(size):
        distance = np.abs(np.arange(length) + 0.5 - (place + 0.5) * step) / wide
        if filter == "triangle":
            share = np.maximum(1 - distance, 0)
        else:  # Keys' cubic with a = -1/2
            near = 1.5 * distance**3 - 2.5 * distance**2 + 1
            far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
            share = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        share = np.round(share / share.sum() * 2**22) / 2**22  # Pillow's precision decides ties
        value = np.tensordot(share, rows, 1)
        found.append(np.clip(np.floor(value + 0.5), 0, 255))
    return np.moveaxis(np.array(found, np.uint8), 0, axis)


def prepared(frame: np.ndarray, film: Film) -> np.ndarray:
    """A frame as the captioner wants it [32 32 3]; columns are resized before rows."""
    height = width = SIDE
    if film.shorter:
        scale = film.shorter / min(frame.shape[:2])
        height, width = round(frame.shape[0] * scale), round(frame.shape[1] * scale)
    frame = resized(resized(frame, 1, width, film.filter), 0, height, film.filter)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return frame[top : top + SIDE, left : left + SIDE]


def descriptors(state: dict, frame: np.ndarray):
    """[64 24] of one prepared frame."""
    import torch
    from torch.nn import functional

    def layer(x, name, stride):
        kernel = state[f"params/encoder/{name}/kernel"].permute(3, 2, 0, 1)
        norm = [state[f"batch_stats/encoder/{name}_norm/{leaf}"] for leaf in ("mean", "var")]
        norm += [state[f"params/encoder/{name}_norm/{leaf}"] for leaf in ("scale", "bias")]
        x = functional.conv2d(x, kernel, stride=stride, padding=1)
        return functional.relu(functional.batch_norm(x, *norm, eps=1e-5))

    x = (torch.from_numpy(frame.astype(np.float64)) - 127.5) / 127.5
    x = layer(layer(x.permute(2, 0, 1)[None], "stage0", 2), "stage1", 2)
    x = (x + layer(x, "stage1_residual0", 1))[0]
    found = []
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            across, down = 2 * column / (GRID[1] - 1) - 1, 2 * row / (GRID[0] - 1) - 1
            place = torch.tensor([across, down, across**2, down**2], dtype=torch.float64)
            found.append(x[:, row, column] + place @ state["params/encoder/place"])
    return torch.stack(found)


def distributions(state: dict, items: Sequence):
    """log P(y_t | y_1 .. y_t-1, items) of every word of the query [T V]: equations 2 and 3."""
    import torch

    own = {name.rsplit("/", 1)[-1]: value for name, value in state.items() if "/decoder/" in name}
    h = c = torch.zeros(HIDDEN, dtype=torch.float64)

    def step(given):
        gates = given + h @ own["lstm_recurrent"] + own["lstm_bias"]
        entry, forget, output, candidate = gates.split(HIDDEN)
        cell = forget.sigmoid() * c + entry.sigmoid() * candidate.tanh()
        return output.sigmoid() * cell.tanh(), cell

    for item in items:
        projected = item @ own["feature_kernel"] + own["feature_bias"]
        h, c = step(projected @ own["lstm_features"])
    found, word = [], torch.zeros(EMBEDDING, dtype=torch.float64)
    for token in TOKENS:
        h, c = step(word @ own["lstm_embedding"])
        found.append((h @ own["head_kernel"] + own["head_bias"]).log_softmax(0))
        word = own["embedding"][token]
    return torch.stack(found)


def losses(state: dict, whole, item) -> tuple[list[float], list[float]]:
    """(Equation 7 or 13, equation 6) of every word, of one frame or one place of a frame."""
    alone = distributions(state, [item])
    one_hot = [-float(alone[number, token]) for number, token in enumerate(TOKENS)]
    divergence = (whole.exp() * (whole - alone)).sum(1)
    return one_hot, divergence.tolist()


def maps_of(film: Film, path: Path, places: Sequence[int]) -> dict[str, np.ndarray]:
    """From a file to "seconds" [F], "frame_loss", "frame_kl" [T F], "loss" and "kl" [T F P]."""
    import torch

    frames, times = decoded(path)
    seen = chosen(times)
    state = {name: torch.from_numpy(value).double() for name, value in weights().items()}
    grids = [descriptors(state, prepared(frames[number], film)) for number, _ in seen]
    whole = distributions(state, [grid.mean(0) for grid in grids])
    by_frame = [losses(state, whole, grid.mean(0)) for grid in grids]
    by_place = [[losses(state, whole, grid[place]) for place in places] for grid in grids]
    frame_loss, frame_kl = np.moveaxis(np.array(by_frame), (0, 1, 2), (2, 0, 1))
    loss, kl = np.moveaxis(np.array(by_place), (0, 1, 2, 3), (2, 3, 0, 1))
    seconds = np.array([second for _, second in seen])
    names = ("seconds", "frame_loss", "frame_kl", "loss", "kl")
    return dict(zip(names, (seconds, frame_loss, frame_kl, loss, kl), strict=True))


def main() -> None:
    """Writes the clips, and samples of their maps."""
    outputs = {}
    for name, film in FILMS.items():
        write_film(film, FOLDER / film.file)
        found = maps_of(film, FOLDER / film.file, range(0, GRID[0] * GRID[1], SPARSE))
        outputs |= {f"{name}_{key}": value.astype(np.float32) for key, value in found.items()}
    np.savez_compressed(OUTPUTS, **outputs)


if __name__ == "__main__":
    main()
