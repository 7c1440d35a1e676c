"""Processes killed at random moments while they pull, train and write: what is there then is whole, and can be gone on with.

python -m tests.kills --count 200 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import ClassVar

TRAINING = [
    *("train", "ntm-copy", "-o", "run", "model.hidden_size=8", "model.slots=8", "model.slot_size=4", "data.batches=20"),
    *("data.options.lengths=3", "data.options.count=4", "training.epochs=2", "training.warmup=5", "training.evaluate_every=0"),
    *("training.checkpoint_every=5", "--device", "cpu"),
]


def _condgen(*arguments: str, home: Path, cwd: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CONDGEN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "condgen_cli", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after some seconds; False if it had ended by itself."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def _finished(process: subprocess.Popen[bytes]) -> str:
    """What a process says on stderr if it fails; empty if it doesn't."""
    _, told = process.communicate(timeout=300)
    return told.decode() if process.returncode else ""


class _Slow(http.server.SimpleHTTPRequestHandler):
    """A file server that takes its time."""

    content: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        content = self.content[self.path]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        try:
            for place in range(start, len(content), 8192):
                self.wfile.write(content[place : place + 8192])
                time.sleep(0.01)
        except OSError:  # the client was killed
            pass

    def log_message(self, *_: object) -> None:
        pass


def kill_pulls(count: int, random: Random) -> list[str]:
    """Kill pulls; a last one completes, and no file in the store is ever wrong."""
    import condgen_cli

    here = Path(condgen_cli.__file__).parent
    zoo = next(folder for folder in (here / "_zoo", here.parent / "zoo") if folder.is_dir())
    document = json.loads((zoo / "manifest.json").read_bytes())
    entry = next(one for one in document["entries"] if one["id"] == "ntm-copy")
    (file,) = entry["files"]
    # other bytes than those of the bundled model, which would not be fetched
    data = (zoo / file["urls"][0]).read_bytes()
    header = int.from_bytes(data[:8], "little")
    data = data[: 8 + header] + bytes(byte ^ 1 for byte in data[8 + header :])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    file |= {"urls": [f"{url}/weights"], "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    entry |= {"id": "pulled", "card": None}
    _Slow.content = {"/manifest.json": json.dumps({**document, "entries": [entry]}).encode(), "/weights": data}
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            home = Path(folder) / str(number // 5)  # five kills in one store
            pull = _condgen("--zoo", f"{url}/manifest.json", "pull", "pulled", home=home, cwd=Path(folder))
            _killed(pull, random.uniform(0.3, 1.5))
            wrong = [path for path in home.rglob("*.safetensors") if path.read_bytes() != data]
            faults += [f"pull {number}: {path.name} is wrong" for path in wrong]
            if number % 5 == 4:
                done = _condgen("--zoo", f"{url}/manifest.json", "pull", "pulled", home=home, cwd=Path(folder))
                if told := _finished(done):
                    faults.append(f"pull {number}: {told}")
    server.shutdown()
    return faults


def kill_trainings(count: int, random: Random) -> list[str]:
    """Kill trainings and resume them; in the end their weights are those of a training that nobody disturbed."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        whole = Path(name) / "whole"
        whole.mkdir()
        if told := _finished(_condgen(*TRAINING, home=home, cwd=whole)):
            return [f"training: {told}"]
        wanted = (whole / "run" / "model.safetensors").read_bytes()
        number = 0
        while number < count:
            folder = Path(name) / str(number)
            folder.mkdir()
            for _ in range(4):
                resume = ["--resume"] if (folder / "run" / "recipe.json").exists() else []
                number += 1
                if not _killed(_condgen(*TRAINING, *resume, home=home, cwd=folder), random.uniform(1.5, 5)):
                    break
            resume = ["--resume"] if (folder / "run" / "recipe.json").exists() else []
            if told := _finished(_condgen(*TRAINING, *resume, home=home, cwd=folder)):
                faults.append(f"training {number}: {told}")
            elif (folder / "run" / "model.safetensors").read_bytes() != wanted:
                faults.append(f"training {number}: other weights")
    return faults


def kill_outputs(count: int, random: Random) -> list[str]:
    """Kill long outputs; the file is yesterday's or whole, and the next command writes it."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bits = "\n\n".join("\n".join(f"{random.getrandbits(8):08b}" for _ in range(20)) for _ in range(200))
        (folder / "bits.txt").write_text(bits)
        for number in range(count):
            out = folder / "out.json"
            out.write_text("yesterday\n")
            ran = _condgen(
                "ntm", "copy", "--bits", "bits.txt", "-o", "out.json", "--batch-size", "4", home=folder / "home", cwd=folder
            )
            _killed(ran, random.uniform(1, 5))
            content = out.read_text()
            if content != "yesterday\n" and len(json.loads(content)) != 200:
                faults.append(f"output {number}: neither yesterday's nor whole")
            if (folder / "bits.txt").read_text() != bits:
                faults.append(f"output {number}: the input has changed")
    return faults


def main() -> int:
    """Run from the command line; the exit code says whether something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description="Processes killed at random moments.")
    parser.add_argument("--count", type=int, default=200, help="of kills in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: list[Callable[[int, Random], list[str]]] = [kill_pulls, kill_trainings, kill_outputs]
    lost = 0
    for kind in kinds:
        faults = kind(options.count // len(kinds), Random(options.seed))
        lost += len(faults)
        print(f"{kind.__name__}: {options.count // len(kinds)}, {len(faults)} faults", *faults[:5], sep="\n  ", flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
