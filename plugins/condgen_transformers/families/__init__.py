"""A module for each family of models, with ``build(config, files)``."""
