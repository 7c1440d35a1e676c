"""The commands of the core, one module per group; ``condgen_cli.registry.core_commands`` lists them."""
