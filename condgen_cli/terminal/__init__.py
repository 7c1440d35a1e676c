"""Output for people at a terminal: messages, progress, escapes, suggestions."""
