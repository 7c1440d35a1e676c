"""Finding plugins, running their code safely, and checking what they register."""
