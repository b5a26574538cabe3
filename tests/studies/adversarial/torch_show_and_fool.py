"""Show-and-Fool in PyTorch on a captioner's weights: MobileNet v1 and Show, Attend and Tell.

Written from the papers with torch's own layers, autograd and Adam. It shares with capjax the
weights, the pictures and the targets, and nothing of its code.

    python -m tests.studies.adversarial.torch_show_and_fool [MODEL PHOTOGRAPH PHOTOGRAPH …]

prints the loss that each library reaches on every photograph; the target is the next one's caption.
Adam's first steps go by the signs of gradients, so rounding soon leads elsewhere: after ten steps
PyTorch in float32 and in float64 differ by 2 and 3 %, after four capjax and PyTorch by .3 %.
"""

import sys

import jax
import numpy as np

import capjax
from capjax.data.pictures.given import prepared
from capjax.data.samples import names, photograph
from capjax.decoding import Greedy
from capjax.studies.adversarial import Goal, ShowAndFool, Writing, attack

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of the depthwise convolutions of block_1 .. block_13."""
EPSILON = 16 / 255
LONGEST = 20


class TorchCaptioner:
    """Teacher-forced logits [B T V] of normalised pictures [B 3 H W], in PyTorch."""

    def __init__(self, captioner):
        import torch

        self.torch, net = torch, captioner.net
        decoder = net.decoder
        kinds = (decoder.activation, decoder.gate, decoder.output, decoder.init_activation)
        assert kinds == ("tanh", "scalar", "deep_tanh", "tanh") and decoder.init_layers == 1
        assert decoder.start_input == "zero"
        self.blocks = {"block_11": (11,), "block_13": (13,), "block_11+13": (11, 13)}
        self.blocks = self.blocks[net.encoder.output]
        as_torch = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), captioner.variables)
        self.encoder = as_torch["params"]["encoder"]
        self.p = as_torch["params"]["decoder"]
        self.mean, self.std = (torch.tensor(v)[None, :, None, None] for v in (net.mean, net.std))

    def convolve(self, x, weights, stride=1, groups=1):
        """TensorFlow's "SAME": of an odd amount of padding the larger half comes last."""
        kernel = weights["kernel"].permute(3, 2, 0, 1)
        total = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[2:]]
        rows, columns = total
        pad = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x = self.torch.nn.functional.pad(x, pad)
        y = self.torch.nn.functional.conv2d(x, kernel, weights["bias"], stride, groups=groups)
        return self.torch.nn.functional.relu6(y)

    def annotations(self, pixels):
        """[B L D] of pixels [B 3 H W] in [0, 1]."""
        x = self.convolve((pixels * 255 - self.mean) / self.std, self.encoder["conv_0"], 2)
        maps = []
        for number in range(1, self.blocks[-1] + 1):
            block = self.encoder[f"block_{number}"]
            x = self.convolve(x, block["depthwise"], STRIDES[number - 1], groups=x.shape[1])
            x = self.convolve(x, block["pointwise"])
            if number in self.blocks:
                maps.append(x)
        finest = maps[0].shape[2:]
        maps = [self.torch.nn.functional.interpolate(m, finest, mode="nearest") for m in maps]
        return self.torch.cat(maps, 1).flatten(2).transpose(1, 2)

    def logits(self, pixels, tokens):
        """Of every token [B T], given those before it."""
        torch, p = self.torch, self.p
        a = self.annotations(pixels)
        if "projection_kernel" in p:
            a = torch.relu(a @ p["projection_kernel"] + p["projection_bias"])
        mean = a.mean(1)
        h, c = (torch.tanh(mean @ p[f"init_{n}_kernel"] + p[f"init_{n}_bias"]) for n in "hc")
        scored = a @ p["attention_features"] + p["attention_bias"]
        words = torch.zeros(len(a), p["embedding"].shape[1])
        found = []
        for place in range(tokens.shape[1]):
            energy = torch.tanh(scored + (h @ p["attention_hidden"])[:, None])
            alpha = torch.softmax((energy @ p["attention_score"])[..., 0], 1)
            z = (alpha[..., None] * a).sum(1)
            z = torch.sigmoid(h @ p["gate_kernel"] + p["gate_bias"]) * z
            gates = words @ p["lstm_embedding"] + z @ p["lstm_context"]
            i, f, o, g = (gates + h @ p["lstm_recurrent"] + p["lstm_bias"]).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            deep = words + h @ p["output_hidden"] + z @ p["output_context"] + p["output_bias"]
            found.append(torch.tanh(deep) @ p["head_kernel"] + p["head_bias"])
            words = p["embedding"][tokens[:, place]]
        return torch.stack(found, 1)


def margins(torch, logits, tokens, lengths, suppress, confidence):
    """[B] sum over the target's words of max(-kappa, best other logit - the word's)."""
    logits = logits.clone()
    logits[..., list(suppress)] = -torch.inf
    own = logits.gather(-1, tokens[..., None])[..., 0]
    others = logits.scatter(-1, tokens[..., None], -torch.inf).amax(-1)
    real = torch.arange(tokens.shape[1])[None] < lengths[:, None]
    lacks = torch.where(real, others - own, 0.0)  # padding is never written: infinite there
    return (torch.clamp(lacks, min=-confidence) * real).sum(1)


def torch_losses(captioner, images, tokens, lengths, suppress, steps, rate):
    """The loss at the 8-bit pictures after one try with c = 1, and after none."""
    import torch

    model = TorchCaptioner(captioner)
    levels = torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2)
    pixels, words = levels / 255, torch.tensor(tokens, dtype=torch.long)
    count = torch.tensor(lengths)
    low, high = (pixels - EPSILON).clamp(min=0), (pixels + EPSILON).clamp(max=1)

    def loss(moved):
        return margins(torch, model.logits(moved, words), words, count, suppress, 1.0)

    at = torch.atanh(0.9999 * (2 * (pixels - low) / (high - low) - 1)).requires_grad_()
    adam = torch.optim.Adam([at], lr=rate, betas=(0.9, 0.999))
    for _ in range(steps):
        moved = low + (high - low) * (torch.tanh(at) + 1) / 2
        away = torch.square(2 * (moved - pixels)).sum()  # both in [-1, 1]
        adam.zero_grad()
        (loss(moved).sum() + away).backward()
        adam.step()
    with torch.no_grad():
        moved = low + (high - low) * (torch.tanh(at) + 1) / 2
        change = torch.round(moved * 255 - levels).clamp(-16, 16)
        stored = (levels + change).clamp(0, 255)
        return loss(stored / 255).numpy(), loss(pixels).numpy()


def compare(captioner, pictures, *, steps=4, rate=0.05):
    """(capjax's losses, PyTorch's, those of the pictures as they are), one a picture each."""
    images = np.stack([prepared(picture, captioner.preprocessing)[0] for picture in pictures])
    said = capjax.caption(captioner, list(images), decoding=Greedy(), max_len=LONGEST)
    targets = [*said[1:], said[0]]
    tokens = np.zeros((len(images), LONGEST), np.int32)
    for row, target in zip(tokens, targets, strict=True):
        row[: len(target.tokens)] = target.tokens
    lengths = np.array([len(target.tokens) for target in targets], np.int32)
    method = ShowAndFool(steps=steps, tries=1, look=steps, rate=rate)
    writing = Writing.of(captioner, Greedy(), LONGEST)
    keys = jax.vmap(jax.random.key)(np.arange(len(images)))
    epsilons = np.full(len(images), EPSILON, np.float32)
    goal = Goal.of("caption", tokens, lengths)
    found = attack(
        captioner.net, method, writing, captioner.variables, images, goal, epsilons, keys
    )
    theirs = torch_losses(captioner, images, tokens, lengths, writing.suppress, steps, rate)
    return np.asarray(found.loss), *theirs


if __name__ == "__main__":
    model, *given = sys.argv[1:] or ["photographs"]
    chosen = given or [photograph(name) for name in names()[:2]]
    for own, other, first in zip(*compare(capjax.load(model), chosen), strict=True):
        print(f"loss {first:.4f} -> capjax {own:.4f}, PyTorch {other:.4f} ({own / other - 1:+.3%})")
