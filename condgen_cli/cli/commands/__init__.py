"""The core's commands, a module for each group; ``condgen_cli.registry.core_commands`` lists them."""
