"""Tiny models of transformers with random weights, saved as ``save_pretrained`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import bytes_to_unicode

transformers.utils.logging.disable_progress_bar()

WORDS = [
    *("a", "the", "dog", "cat", "man", "woman", "sees", "runs", "sits", "on", "in", "red", "big", "hello", "you", "how", "are"),
    *("what", "is", "it", "we", "go", "home", "now"),
]
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]
SIZE = 16
TEXT: dict[str, Any] = {
    "d_model": SIZE,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "init_std": 0.6,
}
VISION: dict[str, Any] = {
    "hidden_size": SIZE,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "initializer_range": 0.3,
}
LANGUAGES = ["deu_Latn", "eng_Latn", "fra_Latn"]


def make(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a model of a family in ``folder/FAMILY`` and return that folder."""
    torch.manual_seed(seed)
    target = folder / family
    network = globals()[f"_{family.replace('-', '_')}"](target)
    settings = network.generation_config
    settings.max_length = 24
    settings._from_model_config = False
    eos = 2 if settings.eos_token_id is None else settings.eos_token_id
    head = {"blip": "text_decoder", "vision-encoder-decoder": "decoder", "trocr": "decoder"}.get(family)
    with torch.no_grad():  # outputs end now and then
        (getattr(network, head) if head else network).get_output_embeddings().weight[eos] *= {
            "marian": -9.0,
            "t5": 9.0,
            "whisper": 1.0,
        }.get(family, 3.0)
        if family == "whisper":  # its end token is its padding, whose embedding is 0 at first
            end = network.get_output_embeddings().weight[eos]
            end += torch.randn(SIZE)
            network.model.decoder.layer_norm.bias += 0.7 * end
        if "final_logits_bias" in network.state_dict():
            network.final_logits_bias[0, eos] += 4.0
    network.save_pretrained(target)
    return target


def _words(target: Path, **special: Any) -> int:
    """Save a tokenizer of whole words, and return the size of its vocabulary."""
    vocabulary = {word: index for index, word in enumerate([*SPECIALS, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **special}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(target)
    return len(vocabulary)


def _picture_processor(target: Path, kind: str) -> None:
    size = {"height": 32, "width": 32}
    getattr(transformers, kind)(size=size, do_center_crop=False).save_pretrained(target)


def _pieces(target: Path, name: str) -> list[str]:
    """Save a model of SentencePiece, and return its pieces."""
    import sentencepiece

    text = target.parent / "pieces.txt"
    text.write_text("\n".join(f"{one} {other} {one}" for one in WORDS for other in WORDS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(target / name), vocab_size=60, minloglevel=3, bos_id=-1, hard_vocab_limit=False
    )
    (target / f"{name}.model").rename(target / f"{name}.spm")
    (target / f"{name}.vocab").unlink()
    model = sentencepiece.SentencePieceProcessor(model_file=str(target / f"{name}.spm"))
    return [model.id_to_piece(index) for index in range(model.get_piece_size())]


def _whisper(target: Path) -> Any:
    letters = bytes_to_unicode().values()
    ends = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>", "<|notimestamps|>"]
    vocabulary = {token: index for index, token in enumerate([*letters, *ends])}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[], additional_special_tokens=ends[1:])
    tokenizer.save_pretrained(target)
    transformers.WhisperFeatureExtractor(feature_size=16).save_pretrained(target)
    ids = {name: vocabulary[name] for name in ends}
    text = {**TEXT, "pad_token_id": ids[ends[0]], "bos_token_id": ids[ends[0]], "eos_token_id": ids[ends[0]]}
    text["decoder_start_token_id"] = ids["<|startoftranscript|>"]
    del text["max_position_embeddings"], text["forced_eos_token_id"]
    network = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            **text, vocab_size=len(vocabulary), num_mel_bins=16, max_source_positions=1500, max_target_positions=64
        )
    )
    generation = network.generation_config
    generation.lang_to_id = {name: ids[name] for name in ("<|en|>", "<|de|>")}
    generation.task_to_id = {name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")}
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation.is_multilingual = True
    generation.alignment_heads = [[1, 0], [1, 1]]
    # of bytes, only printable ASCII is written
    generation.suppress_tokens = [3, 4, *range(94, 256), *[index for name, index in ids.items() if name != ends[0]]]
    generation.begin_suppress_tokens = [ids[ends[0]]]
    return network


def _moonshine(target: Path) -> Any:
    size = _words(target)
    return transformers.MoonshineForConditionalGeneration(
        transformers.MoonshineConfig(
            vocab_size=size, hidden_size=SIZE, intermediate_size=32, encoder_num_hidden_layers=2, decoder_num_hidden_layers=2,
            encoder_num_attention_heads=2, decoder_num_attention_heads=2, max_position_embeddings=64, initializer_range=0.5,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, decoder_start_token_id=1,
        )
    )  # fmt: skip


def _marian(target: Path) -> Any:
    target.mkdir(parents=True)
    pieces = sorted({*_pieces(target, "source"), *_pieces(target, "target"), "<pad>", "</s>", "<unk>", ">>fra<<"})
    (target / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
    (target / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer", "model_max_length": 64}')
    pad, eos = pieces.index("<pad>"), pieces.index("</s>")
    text = {**TEXT, "pad_token_id": pad, "eos_token_id": eos, "bos_token_id": None, "decoder_start_token_id": pad}
    network = transformers.MarianMTModel(transformers.MarianConfig(**text, vocab_size=len(pieces)))
    network.generation_config.bad_words_ids = [[pad]]
    return network


def _t5(target: Path) -> Any:
    size = _words(target)
    config = transformers.T5Config(
        vocab_size=size, d_model=SIZE, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=0, eos_token_id=2,
        decoder_start_token_id=0, initializer_factor=4.0,
    )  # fmt: skip
    config.task_specific_params = {"translation_en_to_de": {"prefix": "what is it "}}
    return transformers.T5ForConditionalGeneration(config)


def _bart(target: Path) -> Any:
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(**{**TEXT, "forced_bos_token_id": 1}, vocab_size=_words(target))
    )


def _mbart(target: Path) -> Any:
    vocabulary = [
        (token, -float(index)) for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS)])
    ]
    tokenizer = transformers.MBart50Tokenizer(vocab=vocabulary, src_lang="en_XX", model_max_length=64)
    tokenizer.save_pretrained(target)
    text = {**TEXT, "pad_token_id": 1, "bos_token_id": 0}
    return transformers.MBartForConditionalGeneration(transformers.MBartConfig(**text, vocab_size=len(tokenizer)))


def _m2m_100(target: Path) -> Any:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS), *{letter for word in WORDS for letter in word}]
    vocabulary = {piece: index for index, piece in enumerate(sorted(pieces, key=lambda piece: piece[0] != "<"))}
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *vocabulary]))}
    tokenizer = transformers.NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=LANGUAGES, model_max_length=64)
    tokenizer.save_pretrained(target)
    text = {**TEXT, "pad_token_id": 1, "bos_token_id": 0}
    return transformers.M2M100ForConditionalGeneration(transformers.M2M100Config(**text, vocab_size=len(tokenizer)))


def _blenderbot(target: Path) -> Any:
    text = {**TEXT, "decoder_start_token_id": 1}
    network = transformers.BlenderbotForConditionalGeneration(transformers.BlenderbotConfig(**text, vocab_size=_words(target)))
    network.generation_config.encoder_no_repeat_ngram_size = 3
    return network


def _vision_encoder_decoder(target: Path) -> Any:
    size = _words(target)
    _picture_processor(target, "ViTImageProcessor")
    decoder = transformers.GPT2Config(
        vocab_size=size, n_embd=SIZE, n_layer=2, n_head=2, n_positions=64, add_cross_attention=True, is_decoder=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    return _join(transformers.ViTConfig(**VISION), decoder)


def _trocr(target: Path) -> Any:
    size = _words(target)
    _picture_processor(target, "ViTImageProcessor")
    decoder = transformers.TrOCRConfig(
        vocab_size=size, d_model=SIZE, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32,
        cross_attention_hidden_size=SIZE, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, decoder_start_token_id=2, init_std=0.5,
    )  # fmt: skip
    return _join(transformers.ViTConfig(**VISION), decoder)


def _join(encoder: Any, decoder: Any) -> Any:
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    network = transformers.VisionEncoderDecoderModel(config)
    generation = network.generation_config
    generation.decoder_start_token_id, generation.pad_token_id, generation.eos_token_id = 1, 0, 2
    return network


def _blip(target: Path) -> Any:
    size = _words(target, cls_token="<s>", sep_token="</s>")
    _picture_processor(target, "BlipImageProcessor")
    text = {
        "vocab_size": size, "hidden_size": SIZE, "encoder_hidden_size": SIZE, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
        "pad_token_id": 0, "initializer_range": 0.5, "projection_dim": 8,
    }  # fmt: skip
    return transformers.BlipForConditionalGeneration(transformers.BlipConfig(text_config=text, vision_config=VISION))


def _git(target: Path) -> Any:
    size = _words(target, cls_token="<s>", sep_token="</s>")
    _picture_processor(target, "CLIPImageProcessor")
    return transformers.GitForCausalLM(
        transformers.GitConfig(
            vision_config=VISION, vocab_size=size, hidden_size=SIZE, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
            initializer_range=0.5,
        )
    )  # fmt: skip
