"""What methods set for their own call is no setting: it is neither saved, hashed nor offered."""

import json

import pytest

from capjax.captioner import SHIPPED, load_captioner
from capjax.checkpoints.settings import module_from_json, module_to_json, setting_fields
from capjax.config.experiment import encoder_section
from capjax.config.sections import defaults
from capjax.decoders import DECODERS
from capjax.encoders import ENCODERS
from capjax.encoders.encoder import Encoder

HASHES = {
    "photographs": "2a9ddc68ebafecaa0b739c245f2b01ccc21e171e5589decebe04875359bf2791",
    "scenes-frames": "954c76299f99c50215a4ee7d064e7f5bff551ab37fdc657e8e5a88fc81b36bb7",
    "scenes-soft": "877cb858ff793e5986e103b34f5c4a9c1ef1c85149ae3af8f268a25601f4a6ed",
}
"""As before encoders had fields for one call: folders of results name captioners by them."""

SETTINGS = {
    "convnet": ["widths", "residuals", "coordinates", "momentum", "dtype"],
    "efficientnet_v2": ["size", "weights_of", "output", "freeze_norm", "dtype"],
    "inception_v3": ["variant", "output", "freeze_norm", "dtype"],
    "mobilenet": ["output", "dtype"],
    "resnet": ["depth", "stage", "pool", "freeze_norm", "dtype"],
    "vgg": ["depth", "output", "weights_of", "dtype"],
    "vit": [
        *("patch", "width", "layers", "heads", "mlp", "size", "interpolate", "class_token"),
        *("weights_of", "epsilon", "keep_attention", "dtype"),
    ],
}


def same(relu):
    return lambda x: relu(x)


def recorded(encoder):
    """With a stage kept and, where there is one, another ReLU."""
    kept = encoder.keeping(encoder.stages()[0])
    return kept.with_relu(same) if hasattr(kept, "relu") else kept


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_saved_as_before(name):
    encoder = ENCODERS[name]()
    assert isinstance(encoder, Encoder)
    assert [field.name for field in setting_fields(encoder)] == SETTINGS[name]
    saved = module_to_json(encoder, ENCODERS)
    assert list(saved) == ["name", *SETTINGS[name]]
    assert list(defaults("encoder", name, ENCODERS)) == SETTINGS[name]
    assert recorded(encoder) != encoder
    assert module_to_json(recorded(encoder), ENCODERS) == saved
    assert module_from_json(json.loads(json.dumps(saved)), ENCODERS) == encoder


def test_all_arguments_of_decoders_are_settings():
    given = {"vocab_size": 9, "features": 5}
    for kind in DECODERS.values():
        fields = [field.name for field in setting_fields(kind)]
        assert "parent" not in fields and "name" not in fields
        decoder = kind(**{key: value for key, value in given.items() if key in fields})
        assert list(module_to_json(decoder, DECODERS)) == ["name", *fields]


@pytest.mark.parametrize("field", ["keep", "relu"])
def test_no_file_and_no_config_can_set_them(field):
    with pytest.raises(ValueError, match=f"resnet has no field {field}; .* depth, stage"):
        module_from_json({"name": "resnet", field: ["stem"]}, ENCODERS)
    with pytest.raises(ValueError, match=f"has no setting {field}"):
        encoder_section("resnet", **{field: ("stem",)})


@pytest.mark.parametrize("name", sorted(HASHES))
def test_the_shipped_captioners_are_who_they_were(name):
    captioner = load_captioner(SHIPPED / name)
    assert captioner.hash == HASHES[name]
    net = captioner.net.clone(encoder=recorded(captioner.net.encoder))
    other = type(captioner)(
        net, captioner.variables, captioner.text, captioner.preprocessing, captioner.card
    )
    assert other.hash == HASHES[name]
    assert repr(other) == repr(captioner)
    assert "keep" not in repr(other) and "relu=" not in repr(other)
