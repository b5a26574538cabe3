"""The graph of 2015 with random constants, and what TensorFlow makes of two images with it.

    python -m tests.golden.inception_graph      # writes inception_graph.npz

Built operation by operation, with the names and the deprecated operations of
`classify_image_graph_def.pb`, in version 8 of the format, the last one that has them. Every learnt
constant is random by its name, and so is what each batch norm is told: whether it scales, and its
epsilon. Stored are the file that TensorFlow wrote, without its large arrays, which `write_graph`
makes again, and samples of what its session returns. Made with TensorFlow 2.21.
"""

import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.resnet_torchvision import sampled

GOLDEN = Path(__file__).with_name("inception_graph.npz")
BLOCKS = ("mixed", *(f"mixed_{number}" for number in range(1, 11)))
POOLED = "pool_3"
SIDE, CLASSES = 299, 1008
CUT = 64  # arrays of more bytes are not stored
Shape = tuple[int, ...]


def array_of(name: str, shape: Shape) -> np.ndarray:
    """What the constant `name` holds."""
    random = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen by NumPy
    leaf = name.rsplit("/", 1)[-1]
    if leaf in ("gamma", "moving_variance"):
        value = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        value = 0.1 * random.standard_normal(shape)
    else:
        value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    return value.astype(np.float32)


def settings_of(name: str) -> tuple[bool, float]:
    """(scale_after_normalization, variance_epsilon) of the batch norm `name`."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    return bool(random.randint(2)), float(random.uniform(1e-4, 0.2))


def seeded_pixels() -> np.ndarray:
    """[2 299 299 3] RGB on the 0..255 scale: noise, and flat tiles."""
    random = np.random.RandomState(15)
    noise = random.randint(0, 256, (SIDE, SIDE, 3))
    tiles = random.randint(0, 256, (13, 13, 3)).repeat(23, axis=0).repeat(23, axis=1)
    return np.stack([noise, tiles]).astype(np.float32)


def write_graph(path: Path) -> None:
    """The file that TensorFlow wrote, byte by byte."""
    with np.load(GOLDEN) as golden:
        skeleton = golden["skeleton"].tobytes()
        places, names, shapes, sha256 = (
            golden[key].tolist() for key in ("places", "names", "shapes", "sha256")
        )
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        ends = [*places, len(skeleton)]
        parts = [skeleton[: ends[0]]]
        for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            parts += [
                array_of(name, tuple(side for side in shape if side)).tobytes(),
                skeleton[ends[number] : ends[number + 1]],
            ]
        for part in parts:
            digest.update(part)
            file.write(part)
    assert digest.hexdigest() == sha256, "not the file that TensorFlow wrote"


class Builder:
    """A GraphDef that grows by one operation at a time; a node is known by its name."""

    def __init__(self) -> None:
        import tensorflow

        self.tf = tensorflow
        self.graph = tensorflow.compat.v1.GraphDef()
        self.graph.versions.producer = 8
        self.depth: dict[str, int] = {}
        self.random: dict[str, Shape] = {}  # in the order of the file

    def add(self, operation: str, name: str, *inputs: str, **attributes: Any) -> str:
        node = self.graph.node.add(name=name, op=operation, input=inputs)
        for key, value in attributes.items():
            field = {bool: "b", int: "i", float: "f", bytes: "s"}.get(type(value))
            if field is not None:
                setattr(node.attr[key], field, value)
            elif isinstance(value, list):
                node.attr[key].list.i.extend(value)
            elif isinstance(value, self.tf.DType):
                node.attr[key].type = value.as_datatype_enum
            else:
                node.attr[key].tensor.CopyFrom(self.tf.make_tensor_proto(value))
        return name

    def constant(self, name: str, value: Any) -> str:
        dtype = self.tf.string if isinstance(value, str) else self.tf.as_dtype(value.dtype)
        return self.add("Const", name, dtype=dtype, value=np.asarray(value))

    def learnt(self, name: str, *shape: int) -> str:
        self.random[name] = shape
        return self.constant(name, array_of(name, shape))

    def checked(self, name: str, x: str) -> str:
        """The graph stops at values that are not finite."""
        T = self.tf.float32
        check = self.add("CheckNumerics", f"{name}/CheckNumerics", x, T=T, message=b"not finite")
        return self.add("Identity", f"{name}/control_dependency", x, f"^{check}", T=T)

    def unit(
        self, x: str, name: str, kernel: tuple[int, int], channels: int, stride=1, padding=b"SAME"
    ) -> str:
        """Convolution, batch norm and ReLU."""
        T = self.tf.float32
        weights = self.learnt(f"{name}/conv2d_params", *kernel, self.depth[x], channels)
        strides = [1, stride, stride, 1]
        y = self.add("Conv2D", f"{name}/Conv2D", x, weights, T=T, strides=strides, padding=padding)
        norm = f"{name}/batchnorm"
        beta, gamma, mean, variance = (
            self.learnt(f"{norm}/{leaf}", channels)
            for leaf in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        scales, epsilon = settings_of(norm)
        y = self.add(
            *("BatchNormWithGlobalNormalization", norm, y, mean, variance, beta, gamma),
            T=T,
            scale_after_normalization=scales,
            variance_epsilon=epsilon,
        )
        y = self.add("Relu", name, self.checked(name, y), T=T)
        self.depth[y] = channels
        return y

    def pool(self, kind: str, x: str, name: str, side: int, stride: int, padding=b"VALID") -> str:
        """`kind`: MaxPool or AvgPool. TensorFlow's averages leave out what is beyond the border."""
        sides, strides = [1, side, side, 1], [1, stride, stride, 1]
        y = self.add(
            kind, name, x, T=self.tf.float32, ksize=sides, strides=strides, padding=padding
        )
        y = self.checked(name, y)
        self.depth[y] = self.depth[x]
        return y

    def join(self, block: str, *inputs: str) -> str:
        """Side by side, by the old operation whose axis comes first."""
        axis = self.constant(f"{block}/join/concat_dim", np.int32(3))
        name = f"{block}/join"
        y = self.add("Concat", name, axis, *inputs, T=self.tf.float32, N=len(inputs))
        self.depth[y] = sum(self.depth[x] for x in inputs)
        return y

    def chain(self, x: str, scope: str, *units: tuple) -> str:
        """Units one after the other: conv, conv_1, conv_2 …"""
        for number, unit in enumerate(units):
            x = self.unit(x, f"{scope}/conv{f'_{number}' if number else ''}", *unit)
        return x

    def around(self, x: str, scope: str, channels: int, kind: str = "AvgPool") -> str:
        """The branch that looks at the neighbours of every cell."""
        return self.chain(
            self.pool(kind, x, f"{scope}/pool", 3, 1, b"SAME"), scope, ((1, 1), channels)
        )


HALVED = (2, b"VALID")


def block_35(g: Builder, x: str, name: str, pooled: int) -> str:
    return g.join(
        name,
        g.chain(x, name, ((1, 1), 64)),
        g.chain(x, f"{name}/tower", ((1, 1), 48), ((5, 5), 64)),
        g.chain(x, f"{name}/tower_1", ((1, 1), 64), ((3, 3), 96), ((3, 3), 96)),
        g.around(x, f"{name}/tower_2", pooled),
    )


def block_17(g: Builder, x: str, name: str, c: int) -> str:
    seven = [((1, 1), c), ((7, 1), c), ((1, 7), c), ((7, 1), c), ((1, 7), 192)]
    return g.join(
        name,
        g.chain(x, name, ((1, 1), 192)),
        g.chain(x, f"{name}/tower", ((1, 1), c), ((1, 7), c), ((7, 1), 192)),
        g.chain(x, f"{name}/tower_1", *seven),
        g.around(x, f"{name}/tower_2", 192),
    )


def block_8(g: Builder, x: str, name: str, kind: str) -> str:
    def both(y: str, scope: str) -> tuple[str, str]:
        """Across and down, side by side."""
        return g.unit(y, f"{scope}/conv", (1, 3), 384), g.unit(y, f"{scope}/conv_1", (3, 1), 384)

    tower = g.chain(x, f"{name}/tower", ((1, 1), 384))
    other = g.chain(x, f"{name}/tower_1", ((1, 1), 448), ((3, 3), 384))
    return g.join(
        name,
        g.chain(x, name, ((1, 1), 320)),
        *both(tower, f"{name}/tower/mixed"),
        *both(other, f"{name}/tower_1/mixed"),
        g.around(x, f"{name}/tower_2", 192, kind),
    )


def build() -> Builder:
    """The whole graph, from a JPEG to the classes."""
    g = Builder()
    tf = g.tf
    T = tf.float32
    x = g.add("DecodeJpeg", "DecodeJpeg", g.constant("DecodeJpeg/contents", ""), channels=3)
    x = g.add("Cast", "Cast", x, SrcT=tf.uint8, DstT=T)
    x = g.add("ExpandDims", "ExpandDims", x, g.constant("ExpandDims/dim", np.int32(0)), T=T)
    size = g.constant("ResizeBilinear/size", np.int32([SIDE, SIDE]))
    x = g.add("ResizeBilinear", "ResizeBilinear", x, size, T=T)
    x = g.add("Sub", "Sub", x, g.constant("Sub/y", np.float32(128)), T=T)
    x = g.add("Mul", "Mul", x, g.constant("Mul/y", np.float32(1 / 128)), T=T)
    g.depth[x] = 3
    x = g.unit(x, "conv", (3, 3), 32, *HALVED)
    x = g.unit(x, "conv_1", (3, 3), 32, 1, b"VALID")
    x = g.unit(x, "conv_2", (3, 3), 64)
    x = g.pool("MaxPool", x, "pool", 3, 2)
    x = g.unit(x, "conv_3", (1, 1), 80, 1, b"VALID")
    x = g.unit(x, "conv_4", (3, 3), 192, 1, b"VALID")
    x = g.pool("MaxPool", x, "pool_1", 3, 2)
    for name, pooled in (("mixed", 32), ("mixed_1", 64), ("mixed_2", 64)):
        x = block_35(g, x, name, pooled)
    x = g.join(
        "mixed_3",
        g.chain(x, "mixed_3", ((3, 3), 384, *HALVED)),
        g.chain(x, "mixed_3/tower", ((1, 1), 64), ((3, 3), 96), ((3, 3), 96, *HALVED)),
        g.pool("MaxPool", x, "mixed_3/pool", 3, 2),
    )
    for name, width in (("mixed_4", 128), ("mixed_5", 160), ("mixed_6", 160), ("mixed_7", 192)):
        x = block_17(g, x, name, width)
    seven = [((1, 1), 192), ((1, 7), 192), ((7, 1), 192), ((3, 3), 192, *HALVED)]
    x = g.join(
        "mixed_8",
        g.chain(x, "mixed_8/tower", ((1, 1), 192), ((3, 3), 320, *HALVED)),
        g.chain(x, "mixed_8/tower_1", *seven),
        g.pool("MaxPool", x, "mixed_8/pool", 3, 2),
    )
    x = block_8(g, x, "mixed_9", "AvgPool")
    x = block_8(g, x, "mixed_10", "MaxPool")
    x = g.add(
        *("AvgPool", POOLED, x), T=T, ksize=[1, 8, 8, 1], strides=[1, 1, 1, 1], padding=b"VALID"
    )
    shape = g.constant("pool_3/_reshape/shape", np.int32([1, 2048]))
    x = g.add("Reshape", "pool_3/_reshape", x, shape, T=T)
    x = g.add("MatMul", "softmax/logits/MatMul", x, g.learnt("softmax/weights", 2048, CLASSES), T=T)
    x = g.add("BiasAdd", "softmax/logits", x, g.learnt("softmax/biases", CLASSES), T=T)
    g.add("Softmax", "softmax", x, T=T)
    return g


def session_of(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What a session says of a file: the map of every block, NHWC, and "pool_3"."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default():
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session() as session:
            asked = {name: f"{name}/join:0" for name in BLOCKS} | {POOLED: f"{POOLED}:0"}
            rows = [session.run(asked, {"ResizeBilinear:0": image[None]}) for image in pixels]
    return {name: np.concatenate([row[name] for row in rows]) for name in asked}


def skeleton_of(content: bytes, shapes: dict[str, Shape]) -> tuple[bytes, list[int], list[str]]:
    """(`content` without the large arrays, where they were in it, their names)."""
    kept, places, names, start = b"", [], [], 0
    for name, shape in shapes.items():
        raw = array_of(name, shape).tobytes()
        if len(raw) > CUT:
            at = content.index(raw, start)
            kept += content[start:at]
            places.append(len(kept))
            names.append(name)
            start = at + len(raw)
    return kept + content[start:], places, names


def main() -> None:
    """Writes the file's skeleton and the session's samples."""
    import tempfile

    builder = build()
    content = builder.graph.SerializeToString(deterministic=True)
    skeleton, places, names = skeleton_of(content, builder.random)
    shapes = np.zeros((len(names), 4), np.int32)  # filled up with zeros
    for row, name in zip(shapes, names, strict=True):
        row[: len(builder.random[name])] = builder.random[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(content)
        found = session_of(path, seeded_pixels())
    np.savez_compressed(
        GOLDEN,
        skeleton=np.frombuffer(skeleton, np.uint8),
        places=np.array(places),
        names=np.array(names),
        shapes=shapes,
        sha256=np.array(hashlib.sha256(content).hexdigest()),
        pool_3=found.pop(POOLED),
        **{name: sampled(maps) for name, maps in found.items()},
    )


if __name__ == "__main__":
    main()
