"""CTranslate2's Whisper weights as a checkpoint of openai-whisper: the same numbers under the names that it uses."""

import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from stages.files.atomic import replacing
from stages.process.problem import Problem

VERSION = 6  # of CTranslate2's model.bin
SPECIFICATION = "WhisperSpec"
# CTranslate2's numbers for types of data; a quantised model (int8) has lost what the checkpoint needs.
TYPES = {0: np.float32, 2: np.int16, 3: np.int32, 4: np.float16}
BYTE = 1  # int8, used for flags only
KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
TOP = {
    "decoder/embeddings/weight": "decoder.token_embedding.weight",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "decoder/layer_norm": "decoder.ln",
    "encoder/layer_norm": "encoder.ln_post",
    "encoder/conv1": "encoder.conv1",
    "encoder/conv2": "encoder.conv2",
}
SIDES = ("encoder", "decoder")
# Within a layer. Several names: CTranslate2 keeps these projections as one matrix.
LAYER = {
    "self_attention/layer_norm": ["attn_ln"],
    "self_attention/linear_0": ["attn.query", "attn.key", "attn.value"],
    "self_attention/linear_1": ["attn.out"],
    "attention/layer_norm": ["cross_attn_ln"],
    "attention/linear_0": ["cross_attn.query"],
    "attention/linear_1": ["cross_attn.key", "cross_attn.value"],
    "attention/linear_2": ["cross_attn.out"],
    "ffn/layer_norm": ["mlp_ln"],
    "ffn/linear_0": ["mlp.0"],
    "ffn/linear_1": ["mlp.2"],
}


def convert_ctranslate2(source: Path, target: Path) -> None:
    """Write `source` (a model.bin with float weights) as `target`, a .pt file that whisper.load_model reads."""
    with source.open("rb") as file:
        variables = read_variables(file, source)
    state = {name: torch.from_numpy(value) for name, value in rename(variables).items()}
    with replacing(target) as temporary:
        torch.save({"dims": dimensions(variables), "model_state_dict": state}, temporary)


def read_variables(file: BinaryIO, source: Path) -> dict[str, np.ndarray]:
    """Arrays by name. Layout: version, specification, revision, count; then name, rank, dims, type, bytes of each."""

    def number(form: str) -> int:
        return struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0]

    def string() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, specification, _ = number("I"), string(), number("I")
    if (version, specification) != (VERSION, SPECIFICATION):
        raise Problem(f"{source}: is {specification} in format {version}; only {SPECIFICATION} in {VERSION} is known")
    variables = {}
    for _ in range(number("I")):
        name, rank = string(), number("B")
        shape = [number("I") for _ in range(rank)]
        kind, data = number("B"), file.read(number("I"))
        if kind in TYPES:
            variables[name] = np.frombuffer(data, TYPES[kind]).reshape(shape).copy()
        elif kind != BYTE or rank:
            raise Problem(f"{source}: {name} is quantised; openai-whisper wants float weights, use faster-whisper")
    return variables


def rename(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    state = {}
    for name, value in variables.items():
        if name in TOP:
            state[TOP[name]] = value
            continue
        stem, _, kind = name.rpartition("/")
        layer = re.fullmatch(r"(encoder|decoder)/layer_(\d+)/(.+)", stem)
        if stem in TOP:
            state[f"{TOP[stem]}.{KINDS[kind]}"] = value
        elif layer:
            targets = LAYER[layer[3]]
            for target, part in zip(targets, np.split(value, len(targets)), strict=True):
                if not (target.endswith(".key") and kind == "bias"):  # Whisper's keys have none: zeros here
                    state[f"{layer[1]}.blocks.{layer[2]}.{target}.{KINDS[kind]}"] = np.ascontiguousarray(part)
    return state


def dimensions(variables: dict[str, np.ndarray]) -> dict[str, int]:
    """Whisper's ModelDimensions."""
    vocabulary, text_state = variables["decoder/embeddings/weight"].shape
    audio_state, mels, _ = variables["encoder/conv1/weight"].shape
    numbers = [re.match(r"(encoder|decoder)/layer_(\d+)/", name) for name in variables]
    layers = {side: 1 + max(int(found[2]) for found in numbers if found and found[1] == side) for side in SIDES}
    return {
        "n_mels": mels,
        "n_audio_ctx": len(variables["encoder/position_encodings/encodings"]),
        "n_audio_state": audio_state,
        "n_audio_head": int(variables["encoder/num_heads"]),
        "n_audio_layer": layers["encoder"],
        "n_vocab": vocabulary,
        "n_text_ctx": len(variables["decoder/position_encodings/encodings"]),
        "n_text_state": text_state,
        "n_text_head": int(variables["decoder/num_heads"]),
        "n_text_layer": layers["decoder"],
    }
