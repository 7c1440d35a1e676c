"""The console script, and ``python -m condgen_cli``."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    # imports make objects by the hundred thousand that stay: looking for garbage among them takes a fifth of `import torch`
    gc.set_threshold(400_000)
    from condgen_cli.cli.app import run
    from condgen_cli.files.stdout import prepare_streams

    prepare_streams()
    code = run(sys.argv[1:])
    gc.freeze()  # else the interpreter looks once more as it ends
    sys.exit(code)


if __name__ == "__main__":
    main()
