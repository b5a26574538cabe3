"""What Captum says of a small captioner's words, for the tests of every method that it has too.

    python -m tests.golden.captum_methods      # writes captum_methods.npz beside it

The captioner is a small convolutional net of strides, norms and a residual, with the decoder of
Show, Attend and Tell: `net` and `variables` here, written out in PyTorch there, float64. Relevance
is of VGG up to conv2_1, whose layers Captum's LRP knows: `relevance_net`, `relevance_variables`.
Weights and pixels are drawn with NumPy's frozen stream, and never stored. Made with torch 2.13 and
Captum 0.9.

Two images of 16x24 pixels (`pixels`, 0..255) have the captions `TOKENS` of lengths `LENGTHS`; T = 3
words are each explained by themselves, by log-probability (`words` are their weights). Beyond the
end of a caption everything is zero. Raw: by the pixels on the 0..255 scale. Normalised: by what the
encoder is given, (pixel - mean) / std.

    log_probs         [B T]           of the words
    gradient          [B T H W 3]     raw; Saliency is its absolute value, which Captum confirms
    input_x_gradient  [B T H W 3]     normalised
    ig_black          [B T H W 3]     from black pixels, `STEPS` nodes of Gauss and Legendre
    ig_mean           [B T H W 3]     from the mean colour, which is zero when normalised
    guided_backprop   [B T H W 3]     raw
    gradcam_stage0    [B T 8 12]      LayerGradCam of the stage, without a ReLU of the map
    gradcam_stage1    [B T 4 6]       the same at the output
    guided_gradcam    [B T H W 3]     GuidedGradCam at stage1: ReLU of the map, bilinear, times
                                      guided_backprop
    occlusion         [B T H W]       windows of 4x4, stride 2, filled with the mean colour; mean
                                      over the windows that cover a pixel
    occlusion_uneven  [B T H W]       windows of 6x6, stride 4: the last of each row is cut
    positions         [B T 4 6]       FeatureAblation of one feature position after the other,
                                      filled with the image's mean feature
    shapley           [B T 2 3]       ShapleyValues of the 8x8 cells, absent ones in the mean colour
    lrp_epsilon       [B H W 3]       LRP of VGG's convolutions, epsilon of `EPSILON`
    lrp_alpha1beta0   [B H W 3]       the same with alpha 1, beta 0 in conv1_2 and conv2_1
    lrp_composite     [B H W 3]       the same with it in conv1_2 alone

The relevance of VGG's output is `features * relevance_weights`: Captum explains
the one number sum(features * relevance_weights). Its alpha 1, beta 0 keeps biases as they are, and
clamps weights whatever the input's sign: biases here are positive, and conv1_1, which sees negative
values, always has the epsilon rule. The maximum passes relevance to the pixel that won.

Scales differ much: compare with a tolerance of 1e-4 of a map's largest absolute value (`close`).
"""

import functools
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from capjax.captioner import CaptionNet, build_net
from capjax.decoders import AttentionLSTM
from capjax.encoders import VGG, ConvNet
from tests.golden.integrated_gradients import word_log_probs

OUTPUTS = Path(__file__).with_name("captum_methods.npz")
SIZE, GRID, CELLS, WORDS = (16, 24), (4, 6), (2, 3), 3
RELEVANCE_GRID = (8, 12)
LAYERS = ("conv1_1", "conv1_2", "conv2_1")
TOKENS = np.array([[5, 4, 9], [7, 2, 0]], np.int32)
LENGTHS = np.array([3, 2], np.int32)
STEPS, EPSILON = 16, 0.01


def net() -> CaptionNet:
    """The captioner's net: 4x6 positions of 16 channels, 11 words."""
    encoder = ConvNet(widths=(8, 16), residuals=(0, 1), coordinates=False)
    return _captioning(encoder, 16)


def relevance_net() -> CaptionNet:
    """That of the relevance: 8x12 positions of 128 channels."""
    return _captioning(VGG(depth=16, output=LAYERS[-1]), 128)


def _captioning(encoder, features: int) -> CaptionNet:
    sizes = {"features": features, "hidden": 8, "attention": 6, "embedding": 5}
    decoder = AttentionLSTM(vocab_size=11, **sizes)
    return build_net(encoder, decoder, VGG().preprocessing(SIZE))


@functools.cache
def variables() -> dict:
    """Seeded weights of `net`."""
    return _drawn(net())


@functools.cache
def relevance_variables() -> dict:
    """Seeded weights of `relevance_net`."""
    return _drawn(relevance_net())


def _drawn(net: CaptionNet) -> dict:
    """Of He's scale in convolutions, louder in the decoder, so that words differ."""
    images, tokens = jnp.zeros((1, *SIZE, 3)), jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, tokens)

    def drawn(path, leaf) -> jax.Array:
        *_, part, name = [entry.key for entry in path]
        value = np.random.RandomState(zlib.crc32(f"{part}/{name}".encode())).randn(*leaf.shape)
        if len(leaf.shape) == 4:
            value = value * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif part.startswith("conv"):
            value = 0.1 * value**2
        elif part.endswith("norm"):
            value = {"scale": 0.8 + 0.2 * value, "var": 1 + value**2}.get(name, 0.3 * value)
        else:
            value = value * (2 / np.sqrt(leaf.shape[0]) if len(leaf.shape) == 2 else 0.2)
        return jnp.asarray(value, jnp.float32)

    return jax.tree_util.tree_map_with_path(drawn, dict(shapes))


def pixels() -> np.ndarray:
    """[B H W 3] float32 images of the 0..255 scale, smooth and noisy."""
    draw = np.random.RandomState(3)
    coarse = draw.randint(0, 256, (2, 4, 6, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(coarse + draw.randint(-30, 31, (2, *SIZE, 3)), 0, 255).astype(np.float32)


def words() -> np.ndarray:
    """[B N T] weights of the targets: every word by itself."""
    return np.broadcast_to(np.eye(WORDS, dtype=np.float32), (2, WORDS, WORDS))


def relevance_weights() -> np.ndarray:
    """[8 12 128] of both signs: the output's relevance is the features times these."""
    return np.random.RandomState(5).randn(*RELEVANCE_GRID, 128).astype(np.float32)


def expected() -> dict[str, np.ndarray]:
    """All that the file holds."""
    with np.load(OUTPUTS) as archive:
        return dict(archive)


def close(found, wanted: np.ndarray, share: float = 1e-4) -> None:
    """Fails where two maps differ by more than a share of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * np.abs(wanted).max())


def compute() -> dict[str, np.ndarray]:
    """What the file holds, from PyTorch and Captum."""
    import torch
    from captum import attr

    def in_torch(tree):
        return jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)).double(), tree)

    tree, statistics = in_torch(variables()["params"]), in_torch(variables()["batch_stats"])
    relevant = in_torch(relevance_variables()["params"]["encoder"])

    def convolution(kernel, bias=None, **options):
        kernel = kernel.permute(3, 2, 0, 1)
        sizes = (kernel.shape[1], kernel.shape[0], kernel.shape[2])
        layer = torch.nn.Conv2d(*sizes, padding=1, bias=bias is not None, **options).double()
        layer.weight.data = kernel.contiguous()
        if bias is not None:
            layer.bias.data = bias.clone()
        return layer

    class Layer(torch.nn.Module):
        """Convolution, batch norm and ReLU."""

        def __init__(self, name, stride):
            super().__init__()
            own = tree["encoder"]
            self.convolution = convolution(own[name]["kernel"], stride=stride)
            self.norm = torch.nn.BatchNorm2d(len(self.convolution.weight), eps=1e-5).double().eval()
            self.norm.weight.data = own[f"{name}_norm"]["scale"].clone()
            self.norm.bias.data = own[f"{name}_norm"]["bias"].clone()
            self.norm.running_mean = statistics["encoder"][f"{name}_norm"]["mean"].clone()
            self.norm.running_var = statistics["encoder"][f"{name}_norm"]["var"].clone()
            self.relu = torch.nn.ReLU()

        def forward(self, x):
            return self.relu(self.norm(self.convolution(x)))

    class Images(torch.nn.Module):
        """The convolutional part: [K 3 H W] normalised to [K 16 4 6]."""

        def __init__(self):
            super().__init__()
            self.stage0, self.strided = Layer("stage0", 2), Layer("stage1", 2)
            self.residual = Layer("stage1_residual0", 1)
            self.stage1 = torch.nn.Identity()

        def forward(self, x):
            x = self.strided(self.stage0(x))
            return self.stage1(x + self.residual(x))

    class Convolutions(torch.nn.Module):
        """VGG: [K 3 H W] normalised to [K 128 8 12]."""

        def __init__(self):
            super().__init__()
            for name in LAYERS:
                self.add_module(name, convolution(relevant[name]["kernel"], relevant[name]["bias"]))
                self.add_module(f"{name}_relu", torch.nn.ReLU())
            self.pool = torch.nn.MaxPool2d(2)

        def forward(self, x):
            x = self.conv1_2_relu(self.conv1_2(self.conv1_1_relu(self.conv1_1(x))))
            return self.conv2_1_relu(self.conv2_1(self.pool(x)))

    class Words(torch.nn.Module):
        """Log-probabilities [K T] of one caption, of normalised images or of raw ones."""

        def __init__(self, tokens, *, raw):
            super().__init__()
            self.images, self.tokens, self.raw = Images(), tokens, raw

        def forward(self, x):
            x = normalise(x) if self.raw else x
            return of_positions(self.images(x).flatten(2).transpose(1, 2), self.tokens)

    class Relevance(torch.nn.Module):
        """One number of VGG's output, in layers that LRP knows."""

        def __init__(self):
            super().__init__()
            self.images = Convolutions()
            weights = torch.tensor(relevance_weights()).double().permute(2, 0, 1).reshape(1, -1)
            self.total = torch.nn.Linear(weights.shape[1], 1, bias=False).double()
            self.total.weight.data = weights

        def forward(self, x):
            return self.total(self.images(x).flatten(1))

    mean, std = (torch.tensor(v).double().reshape(3, 1, 1) for v in (net().mean, net().std))

    def normalise(raw):
        return (raw - mean) / std

    def of_positions(positions, tokens):
        return word_log_probs(tree["decoder"], positions, tokens)

    powers = 2.0 ** torch.arange(6)
    coalitions = (torch.arange(64)[:, None] // powers % 2).floor()
    cells = torch.tensor(np.kron(np.arange(6).reshape(CELLS), np.ones((8, 8), int)))
    there = coalitions[:, cells][:, None]  # [64 1 H W]
    places = torch.arange(GRID[0] * GRID[1])[None, :, None]
    chunk = {"perturbations_per_eval": 32}
    rows: dict[str, np.ndarray] = {}

    def put(name, image, word, maps):
        value = maps.detach()[0]
        value = value.permute(1, 2, 0).numpy() if value.dim() == 3 else value.numpy()
        rows.setdefault(name, np.zeros((2, WORDS, *value.shape)))[image, word] = value

    for image, raw in enumerate(torch.tensor(pixels()).double().permute(0, 3, 1, 2)[:, None]):
        tokens = TOKENS[image, : LENGTHS[image]].tolist()
        from_raw, from_normal = Words(tokens, raw=True), Words(tokens, raw=False)
        x, images = normalise(raw), from_raw.images
        grey = mean.expand_as(raw)
        gauss = {"n_steps": STEPS, "method": "gausslegendre"}
        fine, coarse = images.stage0, images.stage1
        seen = images(x).flatten(2).transpose(1, 2).detach()
        away = seen.mean(dim=1, keepdim=True).expand_as(seen)
        with torch.no_grad():  # of every coalition of cells, by its bits
            worth = from_normal(there * x)
        for word in range(len(tokens)):
            one = {"target": word}
            put("log_probs", image, word, from_raw(raw)[:, word])
            gradient = attr.Saliency(from_raw).attribute(raw.clone(), **one, abs=False)
            saliency = attr.Saliency(from_raw).attribute(raw.clone(), **one)
            assert torch.equal(gradient.abs(), saliency)
            put("gradient", image, word, gradient)
            product = attr.InputXGradient(from_normal).attribute(x.clone(), **one)
            put("input_x_gradient", image, word, product)
            path = attr.IntegratedGradients(from_raw)
            for name, start in {"black": torch.zeros_like(raw), "mean": grey}.items():
                put(f"ig_{name}", image, word, path.attribute(raw, start, **one, **gauss))
            guided = attr.GuidedBackprop(from_raw).attribute(raw.clone(), **one)
            put("guided_backprop", image, word, guided)
            for name, layer in {"stage0": fine, "stage1": coarse}.items():
                maps = attr.LayerGradCam(from_raw, layer).attribute(raw, **one)
                put(f"gradcam_{name}", image, word, maps[:, 0])
            both = attr.GuidedGradCam(from_raw, coarse)
            both = both.attribute(raw.clone(), **one, interpolate_mode="bilinear")
            put("guided_gradcam", image, word, both)
            with torch.no_grad():
                for name, side, stride in (("occlusion", 4, 2), ("occlusion_uneven", 6, 4)):
                    windows, steps = (3, side, side), (3, stride, stride)
                    maps = attr.Occlusion(from_normal).attribute(x, windows, steps, **one, **chunk)
                    put(name, image, word, maps[:, 0])
                lone = attr.FeatureAblation(lambda given: of_positions(given, tokens))  # noqa: B023
                lone = lone.attribute(seen, away, **one, feature_mask=places, **chunk)
                put("positions", image, word, lone[..., 0].reshape(1, *GRID))
                values = attr.ShapleyValues(lambda own: worth[(own @ powers).long()])  # noqa: B023
                values = values.attribute(torch.ones(1, 6), **one, **chunk)
                put("shapley", image, word, values.reshape(1, *CELLS))
        for name, positive in {
            "epsilon": (),
            "alpha1beta0": ("conv1_2", "conv2_1"),
            "composite": ("conv1_2",),
        }.items():
            whole = Relevance()
            for layer in LAYERS:
                kind = attr._utils.lrp_rules
                rule = kind.Alpha1_Beta0_Rule() if layer in positive else kind.EpsilonRule(EPSILON)
                getattr(whole.images, layer).rule = rule
            maps = attr.LRP(whole).attribute(x.clone())[0].permute(1, 2, 0)
            rows.setdefault(f"lrp_{name}", np.zeros((2, *SIZE, 3)))[image] = maps.detach().numpy()
    return {name: value.astype(np.float32) for name, value in rows.items()}


def main() -> None:
    """Writes the file, and says how large the maps are."""
    found = compute()
    np.savez_compressed(OUTPUTS, **found)
    for name, value in found.items():
        print(f"{name:20} {value.shape!s:20} {np.abs(value).max():.3g}")


if __name__ == "__main__":
    main()
