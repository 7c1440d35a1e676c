"""The frame of a task's command: its options, its session, where results go."""
