import typer

whisper = typer.Typer()


def shout(words: list[str]) -> None:
    """Say it in capitals."""
    print(*(word.upper() for word in words))


@whisper.command()
def quietly(words: list[str]) -> None:
    """In small letters."""
    print(*(word.lower() for word in words))


@whisper.callback()
def whispering() -> None:
    """Ways to say it in small letters."""
