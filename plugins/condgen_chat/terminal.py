"""A conversation at a terminal."""

from __future__ import annotations

import json
from contextlib import suppress

from condgen_chat.conversation import Conversation
from condgen_cli import settings
from condgen_cli.errors import CondgenError, InputError, UsageError, reason_of
from condgen_cli.tasks.job import TaskOptions, load_model
from condgen_cli.terminal import console

__all__ = ["converse"]

HELP = """\
/reset       start a new conversation
/undo        take back your last turn and its reply
/show        show which turns the last reply attended to
/save FILE   save the conversation: as a line of JSON if FILE ends in .jsonl, else as text
/model NAME  continue with another model
/quit        end, as Ctrl-D does
A line that ends with \\ continues on the next one. Ctrl-C stops a reply."""
_YOU, _BOT, _MORE = "you: ", "bot: ", "...  "


def converse(options: TaskOptions) -> int:
    """Run a conversation until the user ends it; returns the exit code, 0.

    Raises:
        CondgenError: if the model can't be loaded.
    """
    with suppress(ImportError):  # line editing and history, where Python has it
        import readline  # noqa: F401
    session = _Session(options)
    console.info(f"{session.conversation.runner.name}; /help lists the commands, Ctrl-D ends")
    while (turn := _turn()) is not None:
        try:
            if not turn.strip():
                continue
            if not turn.startswith("/"):
                session.answer(turn)
            elif not session.command(turn):
                break
        except CondgenError as error:
            console.fail(error)
    return 0


def _turn() -> str | None:
    """The user's turn; None at the end of input. Ctrl-C discards the line."""
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _YOU)
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        except EOFError:
            print()
            return None
        except UnicodeDecodeError:
            console.warn("the line is not in the terminal's encoding")
            continue
        if line.endswith("\\"):
            lines.append(line[:-1])
        else:
            return "\n".join([*lines, line])


class _Session:
    """A conversation and its slash commands."""

    def __init__(self, options: TaskOptions) -> None:
        self.options = options
        self.conversation = Conversation(*load_model("chat", options), options.seed)

    def answer(self, turn: str) -> None:
        """Print the reply as it is written."""
        print(_BOT, end="", flush=True)
        try:
            self.conversation.reply(turn, lambda text: print(text, end="", flush=True))
        except KeyboardInterrupt:
            print()
            console.info("stopped; your turn is taken back")
            return
        print()
        model, item = self.conversation.runner.model, self.conversation.item()
        for warning in (*model.warnings(item), *filter(None, [model.doubt(item)])):
            console.warn(warning)
        if unknown := dict.fromkeys(model.unread(item)):
            console.warn(f"{self.conversation.runner.name} does not know {' '.join(unknown)}")
        if self.options.show_attention:
            self._show()

    def command(self, line: str) -> bool:
        """Run a slash command; False if it ends the conversation.

        Raises:
            CondgenError: if the command fails.
        """
        name, _, argument = line.strip().partition(" ")
        if name == "/quit":
            return False
        if name == "/help":
            print(HELP)
        elif name == "/reset":
            self.conversation.reset()
        elif name == "/undo":
            if not self.conversation.undo():
                raise UsageError("there is nothing to take back")
        elif name == "/show":
            self._show()
        elif name == "/save":
            self._save(argument.strip())
        elif name == "/model":
            self._change(argument.strip())
        else:
            raise UsageError(f"no command {name}", "/help")
        return True

    def _show(self) -> None:
        from condgen_cli.render import attention_text

        generation = self.conversation.explain()
        if generation is None:
            raise UsageError("there is no reply yet")
        if not generation.attention:
            raise UsageError(f"{self.conversation.runner.name} has no attention to show")
        text = attention_text(generation, width=console.width(), color=console.use_color(), encoding=console.encoding())
        print(f"\n{text.rstrip()}\n")

    def _save(self, name: str) -> None:
        if not name:
            raise UsageError("/save needs a file name", "/save FILE")
        path = settings.expand_home(name, "/save")
        turns = [(("you", "bot")[place % 2], turn) for place, turn in enumerate(self.conversation.turns)]
        if path.suffix == ".jsonl":
            dialogue = {"turns": [{"speaker": speaker, "text": text} for speaker, text in turns]}
            content = json.dumps(dialogue, ensure_ascii=False) + "\n"
        else:
            content = "".join(f"{speaker}: {text}\n" for speaker, text in turns)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
        except FileExistsError:
            raise UsageError(f"{path} exists", "/save with another name") from None
        except OSError as error:
            raise InputError(f"cannot write {path}: {reason_of(error)}") from None
        console.info(f"{len(turns)} turns in {path}")

    def _change(self, name: str) -> None:
        if not name:
            raise UsageError("/model needs a model's name", "/model NAME; condgen list")
        from dataclasses import replace

        options = replace(self.options, model=name)
        changed = Conversation(*load_model("chat", options), options.seed)
        changed.turns = self.conversation.turns
        self.options, self.conversation = options, changed
        console.info(changed.runner.name)
