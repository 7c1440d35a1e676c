"""The command of a task: its options, its session and the output of its results."""
