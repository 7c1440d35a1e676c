"""Random damage to every kind of file that condgen reads, from strangers or from accidents.

    python -m tests.fuzz --cases 2000 --seed 0 [READER…]

Each reader gets valid files that are made here, mutated. It may read them or raise a ``CondgenError``; any other exception,
more than five seconds for a case, or more than a gigabyte of memory is a finding, told with the number that reproduces it:
``--seed S --first N --cases 1 READER``.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import resource
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from random import Random
from typing import Any

SECONDS = 5.0
MEGABYTES = 1024
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Args:
        make: valid contents, small ones.
        read: reads a file with such a content to its end.
        suffix: of the file.
    """

    make: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    suffix: str = ""


def _exhaust(values: Iterable[object]) -> None:
    for _ in values:
        pass


def _images() -> list[bytes]:
    from PIL import Image

    image = Image.radial_gradient("L").resize((24, 16))
    forms = {"PNG": "RGBA", "JPEG": "RGB", "GIF": "P", "TIFF": "I;16", "BMP": "RGB", "WEBP": "RGB", "PPM": "RGB", "TGA": "RGB"}
    contents = []
    for format, mode in forms.items():
        buffer = io.BytesIO()
        image.convert("RGB").convert(mode) if mode != "I;16" else image
        (image.convert("I;16") if mode == "I;16" else image.convert("RGB").convert(mode)).save(buffer, format)
        contents.append(buffer.getvalue())
    return contents


def _read_image(path: Path) -> None:
    from condgen_cli.data.image import load_image

    load_image(str(path))


def _sounds() -> list[bytes]:
    import numpy as np
    import soundfile

    samples = (np.sin(np.arange(4000) / 9) * 0.3).astype(np.float32)
    contents = []
    for format, subtype in [
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
    ]:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16_000, subtype=subtype, format=format)
        contents.append(buffer.getvalue())
    return contents + [_encoded(samples, *how) for how in _STREAMS]


_STREAMS = [
    ("mp4", "aac"),
    ("matroska", "libopus"),
    ("adts", "aac"),
    ("mpegts", "mp2"),
    ("ogg", "flac"),
    ("caf", "alac"),
    ("avi", "pcm_s16le"),
    ("asf", "pcm_s16le"),
    ("wv", "wavpack"),
    ("wav", "adpcm_ima_wav"),
]


def _encoded(samples: Any, format: str, codec: str) -> bytes:
    """Sound in a container that FFmpeg writes."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=16_000, layout="mono")
        context = stream.codec_context
        converter = av.AudioResampler(format=context.format.name, layout="mono", rate=16_000)
        size = context.frame_size or 1000
        for start in range(0, len(samples), size):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start
            for converted in converter.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _read_sound(path: Path) -> None:
    from condgen_cli.data.audio import read_segments

    _exhaust(read_segments(str(path)))


def _clips() -> list[bytes]:
    import av
    import numpy as np

    contents = []
    for format, codec in [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mpeg4")]:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=format) as container:
            stream = container.add_stream(codec, rate=5)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for index in range(6):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index * 40, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        contents.append(buffer.getvalue())
    return contents


def _read_clip(path: Path) -> None:
    from condgen_cli.data.video import load_clip

    load_clip(str(path))


def _archives() -> list[bytes]:
    zipped, packed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/a.txt", "words " * 50)
        archive.writestr("b.txt", "more words")
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("folder/a.txt")
        info.size = 6
        archive.addfile(info, io.BytesIO(b"words\n"))
    return [zipped.getvalue(), packed.getvalue()]


def _read_archive(path: Path) -> None:
    from condgen_cli.data.archives import open_tree

    tree = open_tree(path)
    for name in tree.names():
        tree.read(name)


def _weights() -> list[bytes]:
    import torch
    from safetensors.torch import save

    tensors = {"a.weight": torch.ones(4, 3), "b": torch.arange(5).to(torch.int8), "b.scale": torch.ones(1)}
    return [save(tensors, {"format": "pt"})]


def _read_weights(path: Path) -> None:
    from condgen_cli.files.safetensors_header import read_header
    from condgen_cli.files.weights import load_weights

    read_header(path)
    load_weights(path)


def _manifests() -> list[bytes]:
    import condgen_cli

    here = Path(condgen_cli.__file__).parent
    found = next(path for path in (here / "_zoo" / "manifest.json", here.parent / "zoo" / "manifest.json") if path.is_file())
    document = json.loads(found.read_bytes())
    document["entries"] = document["entries"][:2]
    return [json.dumps(document).encode(), json.dumps(document, indent=1, ensure_ascii=False).encode()]


def _read_manifest(path: Path) -> None:
    from condgen_cli.zoo.manifest import parse_manifest

    parse_manifest(path.read_bytes(), str(path))


def _recipes() -> list[bytes]:
    from importlib.resources import files

    return [(files("condgen_translate.recipes") / "nmt-de-en.toml").read_bytes()]


def _read_recipe(path: Path) -> None:
    from condgen_cli.training.stages import read_recipe

    read_recipe(path)


def _vocabularies() -> list[bytes]:
    from condgen_cli.data.subwords import SubwordVocabulary
    from condgen_cli.data.text import WordVocabulary

    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for vocabulary in (WordVocabulary.build(["a dog runs"]), SubwordVocabulary.train(["a dog runs", "the dogs ran"], 24)):
            path = Path(folder) / "vocabulary.json"
            vocabulary.save(path)
            contents.append(path.read_bytes())
    return contents


def _read_vocabulary(path: Path) -> None:
    from condgen_cli.data.subwords import SubwordVocabulary
    from condgen_cli.data.text import WordVocabulary
    from condgen_cli.errors import CondgenError

    for kind in (WordVocabulary, SubwordVocabulary):
        try:
            vocabulary = kind.load(path)
        except CondgenError:
            continue
        vocabulary.decode(vocabulary.encode("a dog ran"))


def _texts() -> list[bytes]:
    return ["eins zwei\n\nüber 龘\r\n".encode(), b"\xef\xbb\xbfa\nb"]


def _read_texts(path: Path) -> None:
    from condgen_cli.inputs.lines import text_inputs

    _exhaust(text_inputs([], str(path)))


def _pairs() -> list[bytes]:
    return [b"a dog\tein Hund\nthe cat\tdie Katze\n"]


def _read_pairs(path: Path) -> None:
    from condgen_translate.data import parallel

    _exhaust(parallel(path.parent, "test", tsv=path.name))


def _dialogues() -> list[bytes]:
    return [b'{"turns": ["Hi!", "Hello!", "How are you?"]}\n["a", "b"]\n']


def _read_dialogues(path: Path) -> None:
    from condgen_chat.data import dialogues

    _exhaust(dialogues(path.parent, "test", file=path.name))


def _stories() -> list[bytes]:
    return [b"1 Mary went to the kitchen.\n2 John is here.\n3 Where is Mary?\tkitchen\t1\n"]


def _read_stories(path: Path) -> None:
    from condgen_qa.data import stories

    _exhaust(stories(path.parent, "test", file=path.name))


def _documents() -> list[bytes]:
    files = {"weights.safetensors": {"sha256": "0" * 64, "size": 3}}
    return [
        json.dumps(
            {"task": "caption", "architecture": {"name": "sat", "config": {}}, "decoding": {}, "files": [*files]}
        ).encode()
    ]


def _read_document(path: Path) -> None:
    from condgen_cli.running.runner import load

    (path.parent / "model.json").write_bytes(path.read_bytes())
    load(path.parent, "cpu")


READERS: dict[str, Reader] = {
    "archive": Reader(_archives, _read_archive, ".zip"),
    "clip": Reader(_clips, _read_clip, ".mp4"),
    "dialogues": Reader(_dialogues, _read_dialogues, ".jsonl"),
    "image": Reader(_images, _read_image, ".png"),
    "manifest": Reader(_manifests, _read_manifest, ".json"),
    "pairs": Reader(_pairs, _read_pairs, ".tsv"),
    "recipe": Reader(_recipes, _read_recipe, ".toml"),
    "run": Reader(_documents, _read_document, ".json"),
    "sound": Reader(_sounds, _read_sound, ".wav"),
    "stories": Reader(_stories, _read_stories, ".txt"),
    "texts": Reader(_texts, _read_texts, ".txt"),
    "vocabulary": Reader(_vocabularies, _read_vocabulary, ".json"),
    "weights": Reader(_weights, _read_weights, ".safetensors"),
}


def mutate(content: bytes, random: Random) -> bytes:
    """The content with one to eight faults: other bits or bytes, a number at its limits, parts lost, doubled, moved, added."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        place = random.randrange(len(data))
        length = min(random.choice((1, 2, 4, 16, 256)), len(data) - place)
        match random.randrange(8):
            case 0:
                data[place] ^= 1 << random.randrange(8)
            case 1:
                data[place : place + length] = random.randbytes(length)
            case 2:
                size = random.choice((1, 2, 4))
                number = random.choice(INTERESTING) & ((1 << 8 * size) - 1)
                data[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length] * random.choice((1, 1, 50))
            case 5:
                other = random.randrange(len(data))
                data[place : place + length] = data[other : other + length]
            case 6:
                del data[place:]
            case _:
                data[place:place] = random.choice(
                    (b"\x00", b"\xff", b"\x1b]0;x\x07", b"NaN", b"-1", b"1e999", b'"', b"{", b"[" * 2000)
                )
    return bytes(data)


def _peak() -> int:
    """Megabytes that this process has had at most."""
    try:  # what the operating system tells through getrusage includes the parent's
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1024)


def _work(name: str, seed: int, first: int, cases: int, at: Synchronized[int], findings: Connection) -> None:
    """Read mutated files one after the other, in a process of its own; ``at`` is the case at work."""
    from condgen_cli.errors import CondgenError

    reader = READERS[name]
    contents = reader.make()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{reader.suffix}"
        for case in range(first, first + cases):
            random = Random(f"{name} {seed} {case}")
            path.write_bytes(mutate(random.choice(contents), random))
            at.value = case
            try:
                reader.read(path)
            except CondgenError as error:
                if error.message.startswith("unexpected"):
                    findings.send((case, error.message))
            except Exception as error:
                findings.send((case, f"{type(error).__name__}: {error}"))
            if (peak := _peak()) > MEGABYTES:
                findings.send((case, f"{peak} MB of memory"))
                return  # what follows is for another process
    at.value = first + cases


def run(name: str, cases: int, seed: int, first: int = 0) -> list[str]:
    """Findings of one reader, a line each."""
    context = multiprocessing.get_context("spawn")
    found: list[str] = []
    end = first + cases
    while first < end:
        at = context.Value("q", -1)
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(name, seed, first, end - first, at, send), daemon=True)
        process.start()
        send.close()
        now, since = -1, time.monotonic()
        while process.is_alive():
            process.join(0.05)
            if at.value != now:
                now, since = at.value, time.monotonic()
            elif now >= 0 and time.monotonic() - since > SECONDS:
                process.kill()
                process.join()
                found.append(f"{name} {now}: no end after {SECONDS:g} seconds")
        try:
            while receive.poll():
                case, message = receive.recv()
                found.append(f"{name} {case}: {message}")
        except EOFError:
            pass
        if at.value < 0:
            return [*found, f"{name}: no valid files could be made"]
        if process.exitcode not in (0, -9):
            found.append(f"{name} {at.value}: the process ended with {process.exitcode}")
        first = end if at.value == end else max(at.value, first) + 1
    return found


def main() -> int:
    """Run from the command line; the exit code says whether there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Random damage to every kind of file.")
    parser.add_argument(
        "readers", nargs="*", choices=[*READERS, []], metavar="READER", help=f"default: all of {', '.join(READERS)}"
    )
    parser.add_argument("--cases", type=int, default=2000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    count = 0
    for name in options.readers or READERS:
        started = time.monotonic()
        found = run(name, options.cases, options.seed, options.first)
        count += len(found)
        print(f"{name}: {options.cases} cases, {time.monotonic() - started:.0f} s, {len(found)} findings", flush=True)
        for line in found[:20]:
            print(f"  {line[:300]}", flush=True)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
