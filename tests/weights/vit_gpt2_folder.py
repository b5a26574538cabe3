"""A small ViT-GPT2 as transformers writes it, in a folder or in the hub's cache."""

import hashlib
import json

from safetensors.numpy import save_file

from tests.golden import vit_gpt2_outputs as golden
from tests.reference import small_vit_gpt2
from tests.text.byte_pairs import small_byte_pair

COMMIT = "c" * 40
REPO = "nlpconnect/vit-gpt2-image-captioning"


def configs(vocabulary=golden.VOCABULARY, end=golden.END):
    """Each JSON file of the folder, with the names that transformers 4 wrote."""
    encoder = {
        "model_type": "vit",
        "hidden_act": "gelu",
        "hidden_size": golden.WIDTH,
        "image_size": golden.SIDE,
        "intermediate_size": golden.MLP,
        "layer_norm_eps": 1e-12,
        "num_attention_heads": golden.HEADS,
        "num_channels": 3,
        "num_hidden_layers": golden.LAYERS,
        "patch_size": golden.PATCH,
        "qkv_bias": True,
        "length_penalty": 1.0,
        "torch_dtype": None,
    }
    decoder = {
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "add_cross_attention": True,
        "attn_pdrop": 0.1,
        "bos_token_id": end,
        "eos_token_id": end,
        "layer_norm_epsilon": 1e-05,
        "max_length": 20,
        "n_ctx": 1024,
        "n_embd": golden.WIDTH,
        "n_head": golden.HEADS,
        "n_inner": golden.MLP,
        "n_layer": golden.LAYERS,
        "n_positions": 2 * golden.MAX_LENGTH,
        "num_beams": 1,
        "tie_word_embeddings": True,
        "vocab_size": vocabulary,
    }
    return {
        "config.json": {
            "architectures": ["VisionEncoderDecoderModel"],
            "model_type": "vision-encoder-decoder",
            "encoder": encoder,
            "decoder": decoder,
            "bos_token_id": end,
            "decoder_start_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
            "tie_word_embeddings": False,
        },
        "preprocessor_config.json": {
            "feature_extractor_type": "ViTFeatureExtractor",
            "do_normalize": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "resample": 2,
            "size": golden.SIDE,
        },
    }


def write_folder(folder, seed=0):
    """Writes the model `seed` with the small byte-pair words, and gives the folder."""
    text = small_byte_pair()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in configs(text.size, text.eos).items():
        (folder / name).write_text(json.dumps(content))
    vocabulary = {piece: number for number, piece in enumerate(text.entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = "\n".join(" ".join(pair) for pair in text.merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n")
    arrays = small_vit_gpt2.source(seed, vocabulary=text.size)
    save_file(arrays, folder / "model.safetensors")
    return folder


def write_cache(cache, folder):
    """Lays a folder out as huggingface_hub does, as the branch main of `REPO`."""
    root = cache / f"models--{REPO.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    for part in (snapshot, root / "blobs", root / "refs"):
        part.mkdir(parents=True)
    for path in folder.iterdir():
        content = path.read_bytes()
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / path.name).symlink_to(blob)
    (root / "refs" / "main").write_text(COMMIT)
