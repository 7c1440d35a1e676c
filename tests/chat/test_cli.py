"""``condgen chat`` as a user meets it: replies to what is piped in, and a conversation at a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from condgen_chat.conversation import Conversation
from condgen_cli.cli import app
from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.runner import load

Trained = Callable[[str], Path]
ASKED = ["blue car", "ok nice", "which one"]


def test_one_turn_or_dialogue(trained: Trained, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(trained("hierarchical"))
    assert app.run(["chat", "-m", model, "--once", "red car"]) == 0
    assert capsys.readouterr().out == "ok nice\n"
    saved = tmp_path / "map.html"
    arguments = ["chat", "-m", model, "--once", json.dumps(ASKED), "--show-attention", "--save-attention", str(saved)]
    assert app.run(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("blue one\n")
    assert "which one" in out
    assert "turns" in saved.read_text()
    assert app.run(["chat", "-m", model, "--once", json.dumps(ASKED), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["output"] == "blue one"
    assert [axis["kind"] for axis in row["attention"]["turns"]["axes"]] == ["tokens", "sentences"]


def test_dialogues_are_answered_in_order_and_bad_ones_harm_no_other(
    trained: Trained, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dialogues = [[*ASKED[:count]] for count in (3, 1, 1)]
    lines = [
        json.dumps(dialogues[0]),
        "[1]",
        json.dumps({"turns": dialogues[1]}),
        "",
        json.dumps(dialogues[2]),
        "red car",
    ]
    path = tmp_path / "dialogues.jsonl"
    path.write_text("\n".join(lines) + "\n")
    assert app.run(["chat", "-m", str(trained("hierarchical")), "--input", str(path), "--format", "jsonl"]) == 4
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["output"] for row in rows if row["input"]] == ["blue one", None, "ok nice", "ok nice", "ok nice"]
    assert rows[1]["error"]["code"] == 1
    assert f"{path}:2: turn 1" in err


def test_decoding_options(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(trained("hierarchical"))
    once = ["chat", "-m", model, "--once", "red car"]
    assert app.run([*once, "--nbest", "3", "--weight", "mmi=0.4", "--no-repeat-ngram", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    drawn = []
    for _ in range(2):
        assert app.run([*once, "--sample", "--top-p", "0.9", "--seed", "4"]) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1]
    assert app.run([*once, "--weight", "taste=1"]) == 2
    assert "no scorer 'taste'" in capsys.readouterr().err
    assert app.run([*once, "--input", "-"]) == 2


def test_a_model_that_samples_of_itself_does_so_by_the_seed(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "sampler"
    shutil.copytree(trained("hierarchical"), model)
    description = json.loads((model / "model.json").read_text())
    description["decoding"] = {"method": "sample", "temperature": 5.0, "max_length": 8}
    (model / "model.json").write_text(json.dumps(description))

    def drawn(*seed: str) -> str:
        assert app.run(["chat", "-m", str(model), "--once", "red car", *seed]) == 0
        return capsys.readouterr().out

    assert drawn() == drawn() == drawn("--seed", "0")
    assert len({drawn("--seed", str(seed)) for seed in range(4)}) > 1


def test_a_reply_is_drawn_for_its_dialogue_alone(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "sampler"
    shutil.copytree(trained("hierarchical"), model)
    description = json.loads((model / "model.json").read_text())
    description["decoding"] = {"method": "sample", "temperature": 5.0, "max_length": 8}
    (model / "model.json").write_text(json.dumps(description))

    def drawn(*arguments: str) -> list[str]:
        assert app.run(["chat", "-m", str(model), "--seed", "3", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    lines = ["red car", "which one", "ok nice blue", "red car", "[laughs] ok"]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    (tmp_path / "more").write_text("\n".join(["green one", *lines]) + "\n")
    replies = drawn("--input", str(tmp_path / "lines"))
    assert drawn("--input", str(tmp_path / "lines"), "--batch-size", "1") == replies
    assert drawn("--input", str(tmp_path / "more"), "--batch-size", "2")[1:] == replies
    assert [drawn("--once", line)[0] for line in lines[:3]] == replies[:3]
    assert replies[0] in drawn("--once", lines[0], "--nbest", "4")
    assert len(set(replies)) == len(replies)  # the same turn twice has two replies
    conversation = Conversation(load(model), load(model).decoding, seed=3)
    assert conversation.reply("which one") == replies[1]
    conversation.undo()
    assert conversation.reply("which one") != replies[1]
    # the model draws by itself: at a low temperature what is likeliest
    assert drawn("--once", "red car", "--temperature", "0.01") == ["ok nice"]
    assert drawn("--once", "red car", "--sample") == replies[:1]
    once = ["chat", "-m", str(model), "--once", "red car"]
    for moot in (["--length-penalty", "1"], ["--beam", "2", "--temperature", "2"], ["--beam", "2", "--top-k", "2"]):
        assert app.run([*once, *moot]) == 2
        assert f"error: {moot[-2]} applies to" in capsys.readouterr().err


def test_brackets_and_blank_lines_are_turns_and_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines").write_text('[red] car\n\n   \n["red car\n[1, 2]\n{red} car\n["red car"]\n[]\n')
    command = ["chat", "-m", str(trained("hierarchical")), "--input", str(tmp_path / "lines"), "--format", "jsonl"]
    assert app.run(command) == 4
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["output"] is not None for row in rows] == [True, True, True, False, False, True, True, False]
    assert [row["output"] for row in rows[1:3]] == ["", ""]
    assert rows[6]["output"] == "ok nice"
    assert "begins like a dialogue in JSON" in rows[3]["error"]["message"]


def test_a_conversation_reads_each_turn_once_and_tells_words_as_they_come(trained: Trained) -> None:
    runner = load(trained("hierarchical"))
    conversation = Conversation(runner, Decoding("greedy", max_length=8))
    told: list[str] = []
    for turn in ASKED[0], ASKED[2]:
        told.clear()
        reply = conversation.reply(turn, told.append)
        assert "".join(told) == reply
    assert len(told) > 1
    assert conversation.turns[3] == "blue one"
    assert conversation.item().condition == tuple(conversation.turns[:3])
    read: list[int] = []
    encode, extend = runner.model.encode, runner.model.extend
    runner.model.encode = lambda batch: (read.append(-1), encode(batch))[1]
    runner.model.extend = lambda memory, batch: (read.append(int(batch.counts)), extend(memory, batch))[1]
    assert conversation.reply("red") == runner(Item("item", (*conversation.turns[:4], "red"))).output
    assert read == [2, -1]
    assert conversation.undo()
    assert conversation.undo()
    assert conversation.reply(ASKED[2]) == "blue one"
    conversation.reset()
    assert not conversation.undo()
    assert conversation.explain() is None


def test_an_interrupted_reply_takes_the_turn_back(trained: Trained) -> None:
    conversation = Conversation(load(trained("hierarchical")), Decoding("greedy", max_length=8))
    first = conversation.reply(ASKED[0])

    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.reply("which one", interrupt)
    assert conversation.turns == [ASKED[0], first]
    assert conversation.reply(ASKED[2]) == "blue one"


class Terminal:
    """``condgen chat`` at a pseudo-terminal."""

    def __init__(self, arguments: list[str], env: dict[str, str], folder: Path) -> None:
        self.own, other = pty.openpty()
        command = [sys.executable, "-m", "condgen_cli", "chat", *arguments]
        streams = {"stdin": other, "stdout": other, "stderr": other}
        self.process = subprocess.Popen(command, **streams, env=env, cwd=folder, start_new_session=True, close_fds=True)
        os.close(other)
        self.seen = ""

    def expect(self, pattern: str) -> str:
        """What was printed since the last time, up to a match."""
        until = time.monotonic() + 120
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < until, self.seen
            try:
                self.seen += os.read(self.own, 4096).decode()
            except OSError:  # the other side has closed
                raise AssertionError(self.seen) from None
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def say(self, text: str) -> None:
        os.write(self.own, text.encode())


@pytest.fixture
def terminal(trained: Trained, condgen_env: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(["-m", str(trained("hierarchical"))], condgen_env | {"NO_COLOR": "1", "TERM": "dumb"}, tmp_path)
    yield opened
    opened.process.kill()
    opened.process.wait()
    os.close(opened.own)


def test_a_conversation_at_a_terminal(terminal: Terminal, trained: Trained, tmp_path: Path) -> None:
    terminal.expect(r"Ctrl-D ends\r\n.*you: ")
    terminal.say("blue \\\ncar\n")
    terminal.expect("bot: ok nice\r\n")
    terminal.expect("you: ")
    terminal.say("\n  \nwhich one\n")
    assert "blue one" in terminal.expect("bot: .*\r\n")
    terminal.say("/show\n")
    assert "blue car" in terminal.expect("(?s)turns.*you: ")
    terminal.say("/undo\n/wrong\n")
    terminal.expect("error: no command /wrong")
    terminal.say("/save talk.jsonl\n")
    terminal.expect("2 turns in talk.jsonl")
    terminal.say("/save talk.jsonl\n")
    terminal.expect("error: talk.jsonl exists")
    terminal.say("something else")
    time.sleep(0.2)
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.expect("you: ")
    terminal.say(f"/model {trained('last-turn')}\n")
    terminal.expect("last-turn\r\n")
    terminal.say("/reset\n/show\n")
    terminal.expect("error: there is no reply yet")
    terminal.expect("you: ")
    terminal.say("\x04")
    assert terminal.process.wait(60) == 0
    turns = json.loads((tmp_path / "talk.jsonl").read_text())["turns"]
    assert turns == [{"speaker": "you", "text": "blue \ncar"}, {"speaker": "bot", "text": "ok nice"}]
