"""Guided backpropagation through the first convolutions of a VGG, written out in NumPy.

Springenberg et al. 2014, arXiv 1412.6806, Figure 1c: at a ReLU a gradient passes where the input
was positive and the gradient is.
"""

import numpy as np


def convolve(x, kernel, bias):
    """3x3, stride 1, one zero around: [H W C] -> [H W D]."""
    rows, columns, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.zeros((rows, columns, kernel.shape[-1])) + bias
    for down in range(3):
        for right in range(3):
            y += padded[down : down + rows, right : right + columns] @ kernel[down, right]
    return y


def convolve_back(gradient, kernel):
    """The gradient of the input of `convolve`."""
    rows, columns, _ = gradient.shape
    padded = np.zeros((rows + 2, columns + 2, kernel.shape[2]))
    for down in range(3):
        for right in range(3):
            padded[down : down + rows, right : right + columns] += gradient @ kernel[down, right].T
    return padded[1:-1, 1:-1]


def pool(x):
    """Maxima of 2x2 cells, and where each was, as ones."""
    rows, columns, depth = x.shape
    y = np.zeros((rows // 2, columns // 2, depth))
    chosen = np.zeros_like(x)
    for row in range(rows // 2):
        for column in range(columns // 2):
            for channel in range(depth):
                cells = x[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
                down, right = np.unravel_index(np.argmax(cells), (2, 2))
                y[row, column, channel] = cells[down, right]
                chosen[2 * row + down, 2 * column + right, channel] = 1
    return y, chosen


def guided_gradient(params, image, weights):
    """The guided gradient of sum(weights * conv2_1's map) by the image, and the map.

    Args:
      params: of conv1_1, conv1_2 and conv2_1.
      image: [H W 3], normalised.
      weights: [H/2 W/2 128].
    """
    before, x, chosen = {}, image, None
    for name in ("conv1_1", "conv1_2", "conv2_1"):
        if name == "conv2_1":
            x, chosen = pool(x)
        before[name] = convolve(x, params[name]["kernel"], params[name]["bias"])
        x = np.maximum(before[name], 0)
    gradient = weights
    for name in ("conv2_1", "conv1_2", "conv1_1"):
        gradient = gradient * (before[name] > 0) * (gradient > 0)
        gradient = convolve_back(gradient, params[name]["kernel"])
        if name == "conv2_1":
            gradient = np.repeat(np.repeat(gradient, 2, axis=0), 2, axis=1) * chosen
    return gradient, x
