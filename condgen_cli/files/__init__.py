"""Files of a command: inputs are never overwritten, and outputs appear under their final name only when they are complete."""

from condgen_cli.files.inputs import protect, protect_where, refuse_input
from condgen_cli.files.writing import OutputFile, check_output, replacement, storage_error, write_atomically, write_whole

__all__ = [
    "OutputFile",
    "check_output",
    "protect",
    "protect_where",
    "refuse_input",
    "replacement",
    "storage_error",
    "write_atomically",
    "write_whole",
]
