"""Reading a command's inputs into items: paths, globs, URLs, standard input, lines of text."""
