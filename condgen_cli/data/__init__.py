"""Data sets and inputs: finding them, reading archives, and decoding images, video, sound and text."""
