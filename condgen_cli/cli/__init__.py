"""The command line: running commands, and turning errors into one line and an exit code."""
