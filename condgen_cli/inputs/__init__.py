"""What a command was given, as items: paths, globs, URLs, standard input, lines of text."""
