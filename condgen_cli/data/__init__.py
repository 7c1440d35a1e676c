"""Data sets: specs, archives, and what readers share."""
