"""MobileNet v1 (arXiv 1704.04861, Table 1) as loops over output positions, in NumPy float64.

Written from the paper's table and TensorFlow's "SAME" rule, without the implementation.
"""

import math

import numpy as np

# Strides of the depthwise convolutions of block_1 .. block_13.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def same_windows(x, side, stride):
    """Yields (row, column, window [B side side C]) for each output position, zero padded."""
    _, height, width, _ = x.shape
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    total_rows = max((rows - 1) * stride + side - height, 0)
    total_columns = max((columns - 1) * stride + side - width, 0)
    before = (total_rows // 2, total_columns // 2)
    padded = np.zeros((x.shape[0], height + total_rows, width + total_columns, x.shape[3]))
    padded[:, before[0] : before[0] + height, before[1] : before[1] + width] = x
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            yield row, column, padded[:, top : top + side, left : left + side]


def convolve(x, kernel, stride):
    """Full convolution; kernel [k k I O]."""
    shape = [math.ceil(length / stride) for length in x.shape[1:3]]
    y = np.zeros((x.shape[0], *shape, kernel.shape[-1]))
    for row, column, window in same_windows(x, kernel.shape[0], stride):
        y[:, row, column] = np.einsum("bijc,ijco->bo", window, kernel)
    return y


def depthwise(x, kernel, stride):
    """One filter a channel; kernel [k k 1 C]."""
    shape = [math.ceil(length / stride) for length in x.shape[1:3]]
    y = np.zeros((x.shape[0], *shape, x.shape[3]))
    for row, column, window in same_windows(x, kernel.shape[0], stride):
        y[:, row, column] = np.sum(window * kernel[:, :, 0], axis=(1, 2))
    return y


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def forward(weights, images, last):
    """Map after block `last` of normalised images; weights by the names of the released file."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = relu6(convolve(images, weights["conv_0/kernel"], 2) + weights["conv_0/bias"])
    for number in range(1, last + 1):
        name = f"block_{number}"
        x = depthwise(x, weights[f"{name}/depthwise/kernel"], STRIDES[number - 1])
        x = relu6(x + weights[f"{name}/depthwise/bias"])
        x = convolve(x, weights[f"{name}/pointwise/kernel"], 1)
        x = relu6(x + weights[f"{name}/pointwise/bias"])
    return x
