"""The process and the command tree: a command line becomes calls, and what goes wrong one line and an exit code."""
