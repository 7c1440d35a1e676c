"""What a person reads at a terminal: lines, progress, escapes, suggestions."""
