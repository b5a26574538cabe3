"""The gated inpainter of methods §3 and appendix A.1 in NumPy, slow and literal."""

import numpy as np

# Kernel sides, input and convolved channels at cnum 48, stride, rate; appendix A.1, line by line.
LAYERS = {
    "conv1": (5, 5, 48, 1, 1),
    "conv2_downsample": (3, 24, 96, 2, 1),
    "conv3": (3, 48, 96, 1, 1),
    "conv4_downsample": (3, 48, 192, 2, 1),
    "conv5": (3, 96, 192, 1, 1),
    "conv6": (3, 96, 192, 1, 1),
    "conv7_atrous": (3, 96, 192, 1, 2),
    "conv8_atrous": (3, 96, 192, 1, 4),
    "conv9_atrous": (3, 96, 192, 1, 8),
    "conv10_atrous": (3, 96, 192, 1, 16),
    "conv11": (3, 96, 192, 1, 1),
    "conv12": (3, 96, 192, 1, 1),
    "conv13_upsample": (3, 96, 96, 1, 1),
    "conv14": (3, 48, 96, 1, 1),
    "conv15_upsample": (3, 48, 48, 1, 1),
    "conv16": (3, 24, 24, 1, 1),
    "conv17": (3, 12, 3, 1, 1),
    "xconv1": (5, 3, 48, 1, 1),
    "xconv2_downsample": (3, 24, 48, 2, 1),
    "xconv3": (3, 24, 96, 1, 1),
    "xconv4_downsample": (3, 48, 96, 2, 1),
    "xconv5": (3, 48, 192, 1, 1),
    "xconv6": (3, 96, 192, 1, 1),
    "xconv7_atrous": (3, 96, 192, 1, 2),
    "xconv8_atrous": (3, 96, 192, 1, 4),
    "xconv9_atrous": (3, 96, 192, 1, 8),
    "xconv10_atrous": (3, 96, 192, 1, 16),
    "pmconv1": (5, 3, 48, 1, 1),
    "pmconv2_downsample": (3, 24, 48, 2, 1),
    "pmconv3": (3, 24, 96, 1, 1),
    "pmconv4_downsample": (3, 48, 192, 2, 1),
    "pmconv5": (3, 96, 192, 1, 1),
    "pmconv6": (3, 96, 192, 1, 1),
    "pmconv9": (3, 96, 192, 1, 1),
    "pmconv10": (3, 96, 192, 1, 1),
    "allconv11": (3, 192, 192, 1, 1),
    "allconv12": (3, 96, 192, 1, 1),
    "allconv13_upsample": (3, 96, 96, 1, 1),
    "allconv14": (3, 48, 96, 1, 1),
    "allconv15_upsample": (3, 48, 48, 1, 1),
    "allconv16": (3, 24, 24, 1, 1),
    "allconv17": (3, 12, 3, 1, 1),
}


def kernel_shapes(cnum=48):
    """HWIO of every kernel; the channels of pictures and marks do not depend on cnum."""
    shapes = {}
    for name, (side, before, after, _, _) in LAYERS.items():
        depth = before if before in (3, 5) else before * cnum // 48
        width = after if after == 3 else after * cnum // 48
        shapes[name] = (side, side, depth, width)
    return shapes


def convolve(x, kernel, bias, stride, rate):
    """TensorFlow's SAME, tap by tap, of one map [h w C]."""
    side = len(kernel)
    lengths, before, padded = [], [], [(0, 0)] * 3
    for axis in range(2):
        length = -(-x.shape[axis] // stride)
        total = max((length - 1) * stride + (side - 1) * rate + 1 - x.shape[axis], 0)
        lengths.append(length)
        before.append(total // 2)
        padded[axis] = (total // 2, total - total // 2)
    x = np.pad(x, padded)
    y = np.zeros((*lengths, kernel.shape[-1])) + bias
    for i in range(side):
        for j in range(side):
            rows = slice(i * rate, i * rate + stride * (lengths[0] - 1) + 1, stride)
            columns = slice(j * rate, j * rate + stride * (lengths[1] - 1) + 1, stride)
            y += x[rows, columns] @ kernel[i, j]
    return y


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def gated(x, weights, name):
    """A layer of the table, one map [h w C]."""
    _, _, _, stride, rate = LAYERS[name]
    y = convolve(x, weights[name]["kernel"], weights[name]["bias"], stride, rate)
    if y.shape[-1] == 3:
        return np.tanh(y)
    half = y.shape[-1] // 2
    features, gates = y[..., :half], y[..., half:]
    activated = np.maximum(features, 0) if name == "pmconv6" else elu(features)
    return activated / (1 + np.exp(-gates))


def nearest(x, height, width):
    """TensorFlow's nearest neighbours with align_corners."""

    def places(n, m):
        return [int(np.floor(i * (n - 1) / (m - 1) + 0.5)) if m > 1 else 0 for i in range(m)]

    return x[places(x.shape[0], height)][:, places(x.shape[1], width)]


def patches(x, side, stride):
    """{(row, column): [side side C]} with SAME zero padding."""
    rows, columns = -(-x.shape[0] // stride), -(-x.shape[1] // stride)
    pads = [
        max((n - 1) * stride + side - size, 0)
        for n, size in zip((rows, columns), x.shape[:2], strict=True)
    ]
    x = np.pad(x, [(pad // 2, pad - pad // 2) for pad in pads] + [(0, 0)])
    return {
        (i, j): x[i * stride : i * stride + side, j * stride : j * stride + side]
        for i in range(rows)
        for j in range(columns)
    }


def contextual_attention(foreground, background, hole, *, scale=10.0, fuse=True):
    """Steps 1 to 9 of methods §3.3 for one picture.

    Args:
      foreground, background: [h w C].
      hole: [h/2 w/2], 1 in the hole.

    Returns:
      values [h w C], weights [h/2·w/2, h/2·w/2], offsets [h/2 w/2 2].
    """
    height, width, depth = foreground.shape
    rows, columns = height // 2, width // 2
    places = [(i, j) for i in range(rows) for j in range(columns)]
    raw = patches(background, 4, 2)
    ours = patches(nearest(foreground, rows, columns), 3, 1)
    theirs = patches(nearest(background, rows, columns), 3, 1)
    holes = patches(hole[..., None], 3, 1)
    known = {place: holes[place].mean() == 0 for place in places}
    scores = np.zeros((len(places), len(places)))
    for q, place in enumerate(places):
        for k, other in enumerate(places):
            norm = max(np.sqrt((theirs[other] ** 2).sum()), 1e-4)
            scores[q, k] = (ours[place] * theirs[other]).sum() / norm
    if fuse:
        scores = along_diagonal(scores)
        by_columns = [i * columns + j for j in range(columns) for i in range(rows)]
        swapped = along_diagonal(scores[np.ix_(by_columns, by_columns)])
        scores = np.zeros_like(scores)
        scores[np.ix_(by_columns, by_columns)] = swapped
    allowed = np.array([known[place] for place in places], float)
    logits = scale * scores * allowed
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights = powers / powers.sum(axis=1, keepdims=True) * allowed
    canvas = np.zeros((height + 2, width + 2, depth))
    offsets = np.zeros((rows, columns, 2), int)
    for q, (i, j) in enumerate(places):
        for k, other in enumerate(places):
            canvas[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += weights[q, k] * raw[other]
        best = places[int(weights[q].argmax())]
        offsets[i, j] = best[0] - i, best[1] - j
    return canvas[1:-1, 1:-1] / 4, weights, offsets


def along_diagonal(scores):
    """scores[q-1, k-1] + scores[q, k] + scores[q+1, k+1], zeros beyond."""
    padded = np.pad(scores, 1)
    return padded[:-2, :-2] + scores + padded[2:, 2:]


def generate(weights, image, mask, *, fuse=True):
    """(coarse, refined) [H W 3] of one picture [H W 3] and its mask [H W]."""
    hole = mask[..., None]
    known = image * (1 - hole)

    def run(x, names):
        for name in names:
            if name.endswith("upsample"):
                x = x.repeat(2, axis=0).repeat(2, axis=1)
            x = gated(x, weights, name)
        return x

    names = list(LAYERS)
    marked = np.concatenate([known, np.ones_like(hole), np.ones_like(hole) * hole], axis=-1)
    coarse = run(marked, [name for name in names if name.startswith("conv")])
    pasted = coarse * hole + known * (1 - hole)
    imagined = run(pasted, [name for name in names if name.startswith("xconv")])
    matching = [name for name in names if name.startswith("pmconv")]
    x = run(pasted, matching[:6])
    small = nearest(
        nearest(hole, *(side // 4 for side in mask.shape)), *(s // 8 for s in mask.shape)
    )
    x, _, _ = contextual_attention(x, x, small[..., 0], fuse=fuse)
    x = run(x, matching[6:])
    both = np.concatenate([imagined, x], axis=-1)
    return coarse, run(both, [name for name in names if name.startswith("allconv")])
