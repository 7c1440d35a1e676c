"""Finding plugins, running their code safely, checking what they register."""
