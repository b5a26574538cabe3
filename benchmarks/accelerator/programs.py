"""The hot programs of capjax, at the sizes at which they are judged. All multiply in bfloat16.

What the decoders multiply is counted by formulas, so that another form of a program is judged by
the same number; encoders' convolutions are counted in the traced program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from accelerator import inpainting
from accelerator.program import HALF, Program, integers, shape, size_of

from capjax.captioner import CaptionNet, build_net
from capjax.decoders import GPT2, S2VT, AttentionLSTM
from capjax.decoding import Beam, Greedy, HuggingFaceBeam, generate
from capjax.encoders import VGG, ConvNet, EfficientNetV2, ResNet, ViT
from capjax.explainers.attentions.attention import Attention
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.caption_guided import CaptionGuided
from capjax.explainers.contract import Method
from capjax.explainers.gradients.integrated import IntegratedGradients
from capjax.explainers.perturbation.occlusion import Occlusion
from capjax.explainers.perturbation.rise import RISE
from capjax.explainers.programs import Asked, explain_targets
from capjax.explainers.word_losses import ACCELERATOR_BUDGET, word_losses
from capjax.train import optimizer as optimizers
from capjax.train.arithmetic import count_flops
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.state import create_state
from capjax.train.step import make_train_step
from capjax.types import Features

VOCABULARY, DEPTH, SIZE, SIDE = 10_000, 2048, 512, 14
WORDS = 20
POSITIONS = SIDE * SIDE
END = 2


def attention_lstm() -> AttentionLSTM:
    """The soft-attention decoder of 512/512/512."""
    return AttentionLSTM(VOCABULARY, DEPTH, hidden=SIZE, attention=SIZE, embedding=SIZE, dtype=HALF)


def resnet() -> ResNet:
    """ResNet-101 whose map is 14x14."""
    return ResNet(101, pool=(SIDE, SIDE), dtype=HALF)


def grid_features(images: int, side: int = SIDE) -> Any:
    """Features of `images` square maps."""
    return jax.eval_shape(Features.from_grid, shape(images, side, side, DEPTH))


def decoder_only(decoder: Any) -> tuple[CaptionNet, Any]:
    """A net whose encoder is never called, and shapes of its decoder's variables."""
    net = CaptionNet(ConvNet(), decoder, (0.0,) * 3, (1.0,) * 3)
    params = jax.eval_shape(decoder.init, jax.random.key(0), grid_features(1), integers(1, 2))
    return net, {"params": {"decoder": params["params"]}}


def whole(encoder: Any, decoder: Any) -> tuple[CaptionNet, Any]:
    """A net of both, and shapes of its variables."""
    net = build_net(encoder, decoder, encoder.preprocessing())
    images = shape(1, 224, 224, 3, dtype=jnp.uint8)
    return net, jax.eval_shape(net.init, jax.random.key(0), images, integers(1, 2))


def caption_guided(decoder: str, *, kl: bool) -> Program:
    """Losses of every word at every position, of 15 words."""
    words = 15
    if decoder == "s2vt":
        images, side, hidden, embedding = 32, 8, 1024, 300
        module: Any = S2VT(VOCABULARY, DEPTH, hidden=hidden, embedding=embedding, dtype=HALF)
        # A position: the descriptor's embedding, its gates. A word at it: gates, logits.
        read = DEPTH * hidden + hidden * 4 * hidden
        write = hidden * 4 * hidden + hidden * VOCABULARY
    else:
        images, side, hidden, embedding = 16, SIDE, SIZE, SIZE
        module = attention_lstm()
        # A position, which gets all attention: first state, its gates and output, both times the
        # scalar gate of a word. A word at it: that gate, recurrent gates, output, logits.
        read = DEPTH * (2 * hidden + 4 * hidden + embedding)
        write = hidden * (1 + 4 * hidden + embedding) + embedding * VOCABULARY
    regions = side * side
    features = grid_features(images, side)
    net, variables = decoder_only(module)

    def losses(variables: Any, features: Any, tokens: Any) -> Any:
        return word_losses(net, variables, features, tokens, kl=kl, budget=ACCELERATOR_BUDGET)

    spoken = words * embedding * 4 * hidden
    return Program(
        name=f"caption_guided_{decoder}{'_kl' if kl else ''}",
        about=f"{images} images, {regions} regions, {words} words, H {hidden}, V {VOCABULARY}",
        function=losses,
        arguments=(variables, features, integers(images, 1, words)),
        operations=2.0 * images * (regions * (read + words * write) + spoken),
        moved=size_of((variables, features)),
        budget=ACCELERATOR_BUDGET / 4,
    )


def word_products(rows: int) -> float:
    """Multiplications of one word of so many captions by the attention LSTM."""
    state = SIZE * (SIZE + 1 + 4 * SIZE) + SIZE * 4 * SIZE  # query, gate, recurrent; embedding
    context = POSITIONS * (SIZE + DEPTH) + DEPTH * 4 * SIZE  # scores, sum; gates
    output = SIZE * SIZE + DEPTH * SIZE + SIZE * VOCABULARY
    return float(rows * (state + context + output))


def train_cached() -> Program:
    """A training step from cached features."""
    captions = 128
    net, variables = decoder_only(attention_lstm())
    function, state = train_step(net, variables, train_encoder=False)
    batch = {"features": shape(captions, 1, POSITIONS, DEPTH, dtype=jnp.float16), **texts(captions)}
    # Every product thrice, forwards and for two gradients; twice where the features of the frozen
    # encoder are multiplied, which need none: keys, first state.
    read = captions * (POSITIONS * DEPTH * SIZE + DEPTH * 2 * SIZE)
    return Program(
        name="train_cached",
        about=f"{captions} captions of {WORDS} words, {POSITIONS}x{DEPTH} features, 512/512/512",
        function=function,
        arguments=(state, batch),
        operations=2.0 * (2 * read + 3 * WORDS * word_products(captions)),
        # The features thrice a word: their sum, and the gradients of weights and of the sum.
        moved=3 * WORDS * size_of(batch["features"]) + 2 * size_of(state),
        budget=2 * size_of(batch["features"]),
        donated=(0,),
    )


def train_images(*, tuned: bool) -> Program:
    """A training step from images, with ResNet-101."""
    captions = 64
    net, variables = whole(resnet(), attention_lstm())
    function, state = train_step(net, variables, train_encoder=tuned)
    images = shape(captions, 224, 224, 3, dtype=jnp.uint8)
    return Program(
        name="train_tuned" if tuned else "train_frozen",
        about=f"{captions} images of 224x224, ResNet-101, captions of {WORDS} words, 512/512/512",
        function=function,
        arguments=(state, {"image": images, **texts(captions)}),
        operations=None,
        moved=2 * size_of(state) + size_of(images),
        budget=captions * 112 * 112 * 64 * 4,
        donated=(0,),
    )


def texts(captions: int) -> dict[str, Any]:
    """What a batch holds beside images or features."""
    return {
        "tokens": integers(captions, WORDS),
        "lengths": integers(captions),
        "id": integers(captions),
    }


def train_step(
    net: CaptionNet, variables: Any, *, train_encoder: bool
) -> tuple[Callable[..., Any], Any]:
    """The update, and the shapes of its state."""
    rate = 1e-4
    config = OptimizerConfig(
        learning_rate=rate, encoder_learning_rate=rate * train_encoder, schedule="constant"
    )
    optimizer = optimizers.make_optimizer(config, 1000)
    step = make_train_step(
        net,
        optimizer,
        LossConfig(doubly_stochastic=0.0),
        schedule=optimizers.make_schedule(config, rate, 1000),
        grid=(SIDE, SIDE),
    )
    create = functools.partial(create_state, optimizer=optimizer, train_encoder=train_encoder)
    return step, jax.eval_shape(lambda tree: create(tree, key=jax.random.key(0)), variables)


def decoding(width: int) -> Program:
    """Captions of the attention LSTM, from features, all of `WORDS` words."""
    images = 32
    net, variables = decoder_only(attention_lstm())
    features = grid_features(images)
    method = Beam(width=width) if width > 1 else Greedy()

    def decode(variables: Any, features: Any) -> Any:
        return generate(net, variables, features, method, eos=END, max_len=WORDS)

    read = images * (POSITIONS * DEPTH * SIZE + DEPTH * 2 * SIZE)
    # Of an image, features and keys are read once a word for all its beams.
    seen = images * POSITIONS * (DEPTH + SIZE) * 2
    return Program(
        name=f"beam_{width}" if width > 1 else "greedy",
        about=f"{images} images, {POSITIONS}x{DEPTH} features, {WORDS} words, V {VOCABULARY}",
        function=decode,
        arguments=(variables, features),
        operations=2.0 * (read + WORDS * word_products(images * width)),
        moved=size_of((variables, features)) + WORDS * seen,
        budget=size_of(features.positions),
        turns=WORDS,
    )


def encoding(name: str, encoder: Any) -> Program:
    """Features of 64 images."""
    images = shape(64, 224, 224, 3, dtype=jnp.uint8)
    net = build_net(encoder, attention_lstm(), encoder.preprocessing())
    made = jax.eval_shape(encoder.init, jax.random.key(0), shape(1, 224, 224, 3))
    variables = {kind: {"encoder": tree} for kind, tree in made.items()}

    def encode(variables: Any, images: Any) -> Any:
        return net.apply(variables, images, method="encode").positions

    features = jax.eval_shape(encode, variables, images)
    return Program(
        name=f"encode_{name}",
        about="64 images of 224x224",
        function=encode,
        arguments=(variables, images),
        operations=None,
        moved=size_of((variables, images, features)),
        budget=64 * 224 * 224 * 64 * 2,
    )


def vit_gpt2() -> Program:
    """Captions of images by ViT-GPT2, four beams of 16 tokens with the first."""
    images, width, length, vocabulary = 32, 4, 15, 50_257
    net, variables = whole(ViT(dtype=HALF), GPT2(vocabulary, 768, dtype=HALF))
    pixels = shape(images, 224, 224, 3, dtype=jnp.uint8)

    def write(variables: Any, images: Any) -> Any:
        features = net.apply(variables, images, method="encode")
        method = HuggingFaceBeam(width)
        return generate(net, variables, features, method, eos=50_256, max_len=length)

    def see(variables: Any, images: Any) -> Any:
        features = net.apply(variables, images, method="encode")
        return net.apply(variables, features, length, method="start")

    def once(variables: Any, carry: Any, tokens: Any, memory: Any) -> Any:
        _, hidden, _ = net.apply(variables, carry, tokens, memory, method="step")
        return net.apply(variables, hidden, method="readout")

    rows = jax.eval_shape(see, variables, shape(images * width, 224, 224, 3, dtype=jnp.uint8))
    step = jax.jit(once).trace(variables, rows[0], integers(images * width), rows[1])
    seen = jax.jit(see).trace(variables, pixels)
    return Program(
        name="vit_gpt2",
        about=f"{images} images of 224x224, {width} beams, {length} tokens, V {vocabulary}",
        function=write,
        arguments=(variables, pixels),
        operations=count_flops(seen.jaxpr) + length * count_flops(step.jaxpr),
        # GPT-2's weights once a token, rounded; keys and values of the image once a token.
        moved=size_of((variables, pixels))
        + length * (size_of(variables["params"]["decoder"]) // 2 + size_of(rows[1]) // width),
        budget=images * width * vocabulary * 4,
        turns=length,
    )


def explanation() -> Program:
    """What `explain.py` asks of a batch: three methods, every word of one sentence an image."""
    images, words = 16, 16
    net, variables = decoder_only(attention_lstm())
    methods = (Attention(), GradCAM(), CaptionGuided())
    pixels = shape(images, 224, 224, 3, dtype=jnp.uint8)
    asked = Asked.abstract(grid_features(images), pixels, queries=1, targets=words, tokens=words)

    def explain(variables: Any, asked: Any) -> Any:
        return explain_targets(net, methods, variables, asked, None)

    return Program(
        name="explain",
        about=f"{images} images, {POSITIONS}x{DEPTH} features, {words} words, attention, gradcam, "
        "caption_guided",
        function=explain,
        arguments=(variables, asked),
        operations=None,
        moved=size_of((variables, asked)),
        budget=ACCELERATOR_BUDGET / 4,
    )


def explained(method: Method) -> Program:
    """Maps of every word by one method, as `capjax.explain` asks for them; sizes as on processors.

    Its operations are those of its traced products and convolutions, so that a product that is
    computed twice counts twice: the share says how fast they run, not whether they are needed.
    """
    images, words, side = 8, 15, 128
    encoder = ResNet(18, dtype=HALF)
    decoder = AttentionLSTM(
        VOCABULARY, SIZE, hidden=SIZE, attention=SIZE, embedding=SIZE, dtype=HALF
    )
    net = build_net(encoder, decoder, encoder.preprocessing((side, side)))
    pixels = shape(images, side, side, 3, dtype=jnp.uint8)
    variables = jax.eval_shape(net.init, jax.random.key(0), pixels, integers(1, 2))
    features = jax.eval_shape(lambda *given: net.apply(*given, method="encode"), variables, pixels)
    asked = Asked.abstract(features, pixels, queries=1, targets=words, tokens=words)

    def explain(variables: Any, asked: Any) -> Any:
        return explain_targets(net, (method,), variables, asked, None)

    return Program(
        name=f"explain_{method.NAME}",
        about=f"{images} images of {side}x{side}, ResNet-18, {words} words, V {VOCABULARY}",
        function=explain,
        arguments=(variables, asked),
        operations=None,
        moved=size_of((variables, asked)),
        # The encoder's largest map, of 16 copies of each image, in float32.
        budget=16 * images * (side // 2) ** 2 * 64 * 4,
    )


PROGRAMS: dict[str, Callable[[], Program]] = {
    "caption_guided_s2vt": functools.partial(caption_guided, "s2vt", kl=False),
    "caption_guided_s2vt_kl": functools.partial(caption_guided, "s2vt", kl=True),
    "caption_guided_attention": functools.partial(caption_guided, "attention", kl=False),
    "caption_guided_attention_kl": functools.partial(caption_guided, "attention", kl=True),
    "train_cached": train_cached,
    "train_frozen": functools.partial(train_images, tuned=False),
    "train_tuned": functools.partial(train_images, tuned=True),
    "beam_3": functools.partial(decoding, 3),
    "greedy": functools.partial(decoding, 1),
    "encode_vgg19": functools.partial(encoding, "vgg19", VGG(19, dtype=HALF)),
    "encode_resnet101": functools.partial(encoding, "resnet101", ResNet(101, dtype=HALF)),
    "encode_vit_b16": functools.partial(encoding, "vit_b16", ViT(dtype=HALF)),
    "encode_efficientnet_v2_s": functools.partial(
        encoding, "efficientnet_v2_s", EfficientNetV2("s", dtype=HALF)
    ),
    "vit_gpt2": vit_gpt2,
    "explain": explanation,
    "explain_ig": functools.partial(explained, IntegratedGradients(steps=32)),
    "explain_gradcam": functools.partial(explained, GradCAM()),
    "explain_occlusion": functools.partial(explained, Occlusion(window=16, stride=16)),
    "explain_rise": functools.partial(explained, RISE(masks=500)),
    "inpaint_fill": inpainting.generator,
    "inpaint_discriminator": inpainting.discriminator,
    "inpaint_train": inpainting.training,
}
"""Name -> what makes it."""
