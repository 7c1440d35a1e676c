"""Convert Whisper from CTranslate2's ``model.bin`` to a folder that transformers reads.

python tools/whisper_from_ctranslate2.py FOLDER_OF_MODEL_BIN... TARGET
"""

from __future__ import annotations

import io
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["convert", "read_tensors", "rename"]

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
NAMES = {
    r"encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
    r"decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
    r"decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
    r"decoder/projection/weight": "",  # the embedding again
    r"encoder/conv(\d)/(weight|bias)": r"model.encoder.conv\1.\2",
    r"(encoder|decoder)/layer_norm/(gamma|beta)": r"model.\1.layer_norm.\2",
    r"(encoder|decoder)/layer_(\d+)/self_attention/layer_norm/(\w+)": r"model.\1.layers.\2.self_attn_layer_norm.\3",
    r"(encoder|decoder)/layer_(\d+)/attention/layer_norm/(\w+)": r"model.\1.layers.\2.encoder_attn_layer_norm.\3",
    r"(encoder|decoder)/layer_(\d+)/ffn/layer_norm/(\w+)": r"model.\1.layers.\2.final_layer_norm.\3",
    r"(encoder|decoder)/layer_(\d+)/ffn/linear_0/(\w+)": r"model.\1.layers.\2.fc1.\3",
    r"(encoder|decoder)/layer_(\d+)/ffn/linear_1/(\w+)": r"model.\1.layers.\2.fc2.\3",
    r"(encoder|decoder)/layer_(\d+)/self_attention/linear_0/(\w+)": r"model.\1.layers.\2.self_attn.[q,k,v]_proj.\3",
    r"(encoder|decoder)/layer_(\d+)/self_attention/linear_1/(\w+)": r"model.\1.layers.\2.self_attn.out_proj.\3",
    r"(encoder|decoder)/layer_(\d+)/attention/linear_0/(\w+)": r"model.\1.layers.\2.encoder_attn.[q]_proj.\3",
    r"(encoder|decoder)/layer_(\d+)/attention/linear_1/(\w+)": r"model.\1.layers.\2.encoder_attn.[k,v]_proj.\3",
    r"(encoder|decoder)/layer_(\d+)/attention/linear_2/(\w+)": r"model.\1.layers.\2.encoder_attn.out_proj.\3",
}
"""Names of CTranslate2, and those of transformers; ``[q,k,v]`` are parts of one tensor."""


def read_tensors(data: bytes) -> dict[str, Any]:
    """The tensors of ``model.bin``, format 6, in which numbers are little-endian and strings have their length before them."""
    stream = io.BytesIO(data)

    def number(kind: str) -> int:
        return int(struct.unpack("<" + kind, stream.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return stream.read(number("H")).rstrip(b"\0").decode()

    number("I"), text(), number("I")  # version of the format, name and revision of the model's specification
    tensors = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        tensors[name] = np.frombuffer(stream.read(size), TYPES[kind]).reshape(shape)
    return tensors


def rename(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors by transformers' names, joined ones split."""
    found = {}
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f" or tensor.ndim == 0:
            continue  # settings such as the number of heads
        new = next((re.sub(f"^{old}$", to, name) for old, to in NAMES.items() if re.fullmatch(old, name)), None)
        if new is None:
            raise ValueError(f"unknown tensor {name}")
        new = new.replace("gamma", "weight").replace("beta", "bias")
        if match := re.search(r"\[([qkv,]+)\]", new):
            parts = match[1].split(",")
            for letter, part in zip(parts, np.split(tensor, len(parts)), strict=True):
                if not (letter == "k" and name.endswith("bias")):  # Whisper's keys have no bias: it is zero here
                    found[new.replace(match[0], letter)] = part
        elif new:
            found[new] = tensor
    return found


def convert(sources: list[Path], target: Path) -> None:
    """Write a folder with ``model.safetensors``, configuration and tokenizer.

    Args:
        sources: folders that hold ``model.bin``, or its parts ``model.bin.part1`` …, and ``tokenizer.json``.
        target: the new folder.
    """
    from safetensors.numpy import save_file
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperTokenizer

    parts = sorted((file for folder in sources for file in folder.glob("model.bin*")), key=lambda file: file.name)
    tensors = read_tensors(b"".join(part.read_bytes() for part in parts))
    weights = {name: np.ascontiguousarray(value.astype(np.float32)) for name, value in rename(tensors).items()}
    target.mkdir(parents=True, exist_ok=True)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    size, width = weights["model.decoder.embed_tokens.weight"].shape
    layers = 1 + max(int(name.split(".")[3]) for name in weights if ".layers." in name)
    start = 50258
    config = WhisperConfig(
        vocab_size=size, d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, pad_token_id=50257,
        bos_token_id=50257, eos_token_id=50257, decoder_start_token_id=start,
        num_mel_bins=weights["model.encoder.conv1.weight"].shape[1], architectures=["WhisperForConditionalGeneration"],
    )  # fmt: skip
    config.save_pretrained(target)
    (vocabulary,) = {file for folder in sources for file in folder.glob("tokenizer.json")}
    tokenizer = WhisperTokenizer(tokenizer_file=str(vocabulary), pad_token="<|endoftext|>")
    tokenizer.save_pretrained(target)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(target)
    (settings,) = (json.loads(file.read_text()) for folder in sources for file in folder.glob("config.json"))
    languages = {tokenizer.convert_ids_to_tokens(index): index for index in settings["lang_ids"]}
    tasks = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("transcribe", "translate")}
    GenerationConfig(
        decoder_start_token_id=start, eos_token_id=50257, pad_token_id=50257, max_length=448,
        suppress_tokens=settings["suppress_ids"], begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"], lang_to_id=languages, task_to_id=tasks, is_multilingual=True,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
    ).save_pretrained(target)  # fmt: skip


if __name__ == "__main__":
    *folders, destination = map(Path, sys.argv[1:])
    convert(folders, destination)
