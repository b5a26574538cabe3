"""A whole run that trains an inpainter: what it learns, writes, resumes and refuses."""

import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from capjax.config.inpainting import (
    InpaintingConfig,
    RestorationConfig,
    discriminator_section,
    generator_section,
    resolve_inpainting,
)
from capjax.data.inpainting.examples import load_pictures
from capjax.data.inpainting.settings import PictureConfig
from capjax.encoders.encoder import for_one_call
from capjax.experiment.inpainting.building import build_inpainting
from capjax.experiment.inpainting.comparing import compared, format_compared
from capjax.experiment.inpainting.run import (
    _check_start,
    _judge,
    format_restoration,
    run_inpainting,
)
from capjax.inpaint.checkpoints import load_inpainter
from capjax.inpaint.discriminator import WIDTHS
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.named import named_fill
from capjax.inpaint.generator import Inpainted
from capjax.inpaint.inpainter import GENERATORS, Inpainter, fill_holes
from capjax.inpaint.training.players import Inpainting
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.train.records import read_metrics

SIDE, STEPS = 32, 16


class Stub(nn.Module):
    """Stands for the gated generator, which takes half a minute to compile: two convolutions."""

    width: int = 4
    budget: int = for_one_call(1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, masks):
        known = jnp.where(masks > 0.5, 0.0, images)
        x = jnp.concatenate([known, masks], axis=-1)
        coarse = jnp.tanh(nn.Conv(3, (5, 5), name="coarse")(x))
        x = nn.elu(nn.Conv(self.width, (9, 9), name="wide")(x))
        return Inpainted(coarse, jnp.tanh(nn.Conv(3, (3, 3), name="refined")(x)), None)


@pytest.fixture(scope="module", autouse=True)
def _stub():
    GENERATORS["stub"] = Stub
    yield
    del GENERATORS["stub"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two halves, each of a colour of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        (folder / split).mkdir()
        for number in range(count):
            picture = np.empty((40, 36, 3), np.uint8)
            picture[:20], picture[20:] = random.integers(0, 256, (2, 3))
            Image.fromarray(picture).save(folder / split / f"{number}.png")
    return folder


def settings(folder, name="stub", **changes):
    optimizer = OptimizerConfig(learning_rate=1e-2, b1=0.5, schedule="constant")
    return InpaintingConfig(
        generator=generator_section(name),
        discriminator=discriminator_section(width=4),
        data=PictureConfig(images=str(folder), side=SIDE),
        optimizer=optimizer,
        discriminator_optimizer=dataclasses.replace(optimizer),
        train=LoopConfig(batch_size=4, steps=STEPS, progress=False, log_every=1),
        evaluation=RestorationConfig(every=8, batch_size=3, shown=2),
        **changes,
    )


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A run that stopped half-way and went on."""
    workdir = tmp_path_factory.mktemp("run")
    half = settings(folder)
    half.train.steps = STEPS // 2
    run_inpainting(half, workdir)
    return run_inpainting(settings(folder), workdir), workdir


def test_a_run_leaves_an_inpainter_and_what_it_is_worth(trained, folder):
    result, workdir = trained
    assert (result.reason, result.step) == ("finished", STEPS)
    inpainter = load_inpainter(workdir)
    assert inpainter.size == (SIDE, SIDE)
    assert inpainter.card["step"] == result.best_step
    assert inpainter.card["data"]["train"]["images"] == 8
    scores = json.loads((workdir / "validation.json").read_text())
    assert scores["card"]["model_hash"] == inpainter.hash
    assert "n=3 pictures of 32 pixels" in format_restoration(scores)
    records = read_metrics(workdir / "metrics.jsonl")
    best = next(r for r in records if r["step"] == result.best_step)["validation"]
    assert best["PSNR"] == pytest.approx(scores["PSNR"], abs=1e-4)
    for name in ("discriminator_loss", "adversarial", "coarse_l1", "hole_l1", "score_real"):
        assert all(np.isfinite(record[name]) for record in records)
    strip = np.asarray(Image.open(workdir / "pictures" / f"step-{result.best_step:07d}.png"))
    assert strip.shape == (2 * SIDE + 4, 3 * SIDE + 8, 3)
    middle = np.asarray(Image.open(folder / "val" / "0.png"))[4:36, 2:34]
    np.testing.assert_array_equal(strip[:SIDE, -SIDE:], middle)
    hole = (strip[:SIDE, :SIDE] == 255).all(-1)
    filled = fill_holes(inpainter.net, inpainter.variables, middle[None], hole[None])
    np.testing.assert_array_equal(strip[:SIDE, SIDE + 4 : 2 * SIDE + 4], filled[0])


def test_a_run_goes_on_where_it_stood_and_refuses_another(trained, folder):
    _, workdir = trained
    records = read_metrics(workdir / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    losses = [record["refined_l1"] for record in records]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    config = settings(folder)
    config.seed = 1
    with pytest.raises(ValueError, match="seed: 0 there, 1 now"):
        run_inpainting(config, workdir)


def test_fills_are_compared_in_the_holes_of_the_run(trained, folder):
    _, workdir = trained
    fills = {"mean": named_fill("mean"), "own": Gated(checkpoint=str(workdir), batch=4)}
    scores = compared(resolve_inpainting(settings(folder)), fills)
    final = json.loads((workdir / "validation.json").read_text())
    for name in ("PSNR", "SSIM", "L1"):
        assert scores["own"][name].mean() == pytest.approx(final[name], abs=1e-4)
        assert scores["mean"][name].shape == (3,)
    assert "own" in format_compared(scores)


@pytest.mark.devices
def test_a_start_is_compared_by_its_settings_on_any_number_of_devices(folder):
    config = settings(folder)
    config.train.batch_size = 8
    config = resolve_inpainting(config)
    experiment = build_inpainting(config, load_pictures(config.data))
    assert experiment.players.generator.budget > Stub().budget  # that of all devices
    _check_start(experiment, Inpainter(Stub(), {}))
    with pytest.raises(ValueError, match="width is 5 there, 4 here"):
        _check_start(experiment, Inpainter(Stub(width=5), {}))


def test_a_released_discriminator_goes_on_learning(folder, tmp_path, monkeypatch):
    init = Inpainting.init

    def zeros(self, key, side):
        shapes = jax.eval_shape(functools.partial(init, self, side=side), key)
        return jax.tree.map(lambda own: jnp.zeros(own.shape, own.dtype), shapes)

    monkeypatch.setattr(Inpainting, "init", zeros)  # several seconds to compile
    draw, before, released = np.random.default_rng(0), 4, {}
    for number, times in enumerate(WIDTHS, 1):
        scope, width = f"discriminator/sn_patch_gan/conv{number}", 4 * times
        released[f"{scope}/kernel"] = draw.normal(size=(5, 5, before, width)).astype(np.float32)
        released[f"{scope}/bias"] = np.zeros(width, np.float32)
        released[f"{scope}/kernel_sn/u"] = draw.normal(size=(1, width)).astype(np.float32)
        before = width
    np.savez(tmp_path / "released.npz", **released)
    config = settings(folder, discriminator_from=str(tmp_path / "released.npz"))
    resolved = resolve_inpainting(config)
    experiment = build_inpainting(resolved, load_pictures(resolved.data), judge=_judge(resolved))
    state = experiment.initial_state()
    usual = dataclasses.replace(experiment, judge=None).state_shapes()
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, usual)
    own = {"params": state.params["discriminator"], **state.batch_stats}
    for part, leaf, name in (("params", "kernel", "kernel"), ("discriminator", "u", "kernel_sn/u")):
        found, wanted = own[part]["conv2"][leaf], f"discriminator/sn_patch_gan/conv2/{name}"
        np.testing.assert_array_equal(found, released[wanted])
    config.discriminator.width = 8
    with pytest.raises(ValueError, match=r"has width 4, this config 8; set --config\.disc"):
        run_inpainting(config, tmp_path / "run")
    config.loss.adversarial = 0.0
    with pytest.raises(ValueError, match="no effect where loss.adversarial is 0"):
        resolve_inpainting(config)


def test_what_has_no_meaning_is_refused(folder):
    config = settings(folder)
    config.evaluation.metric = "CIDEr"
    with pytest.raises(ValueError, match="choose one of: PSNR, SSIM"):
        resolve_inpainting(config)
    config = settings(folder)
    config.discriminator_optimizer.average_decay = 0.9
    with pytest.raises(ValueError, match=r"discriminator_optimizer\.average_decay has no effect"):
        resolve_inpainting(config)
    config = settings(folder)
    config.data = PictureConfig(name="scenes", side=SIDE, train_images=4, validation_images=4)
    resolve_inpainting(config)
    config.holes.kind = "either"
    with pytest.raises(ValueError, match=r"config\.holes has no effect on scenes"):
        resolve_inpainting(config)
    config = settings(folder)
    config.holes.most_width = 0.001
    with pytest.raises(ValueError, match=r"holes, in pictures of data.side=32: got width"):
        resolve_inpainting(config)
