"""``python -m condgen_cli``."""

from condgen_cli.app import main

if __name__ == "__main__":
    main()
