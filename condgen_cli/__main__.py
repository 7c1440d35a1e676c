"""The console script, and ``python -m condgen_cli``."""

from __future__ import annotations

import codecs
import gc
import sys

__all__ = ["main"]


def main() -> None:
    # imports make objects by the hundred thousand that stay: looking for garbage among them takes a fifth of `import torch`
    gc.set_threshold(400_000)
    from condgen_cli.app import run

    if hasattr(sys.stdout, "reconfigure"):
        codecs.register_error("condgen-escape", _escaped)
        sys.stdout.reconfigure(errors="condgen-escape")
    code = run(sys.argv[1:])
    gc.freeze()  # else the interpreter looks once more as it ends
    sys.exit(code)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What stdout's encoding lacks, as JSON writes it: so that a document stays one, and text can be read."""
    import json

    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


if __name__ == "__main__":
    main()
