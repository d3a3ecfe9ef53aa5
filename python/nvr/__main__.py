"""``python -m nvr``: the same as the command ``nvr``."""

from nvr.cli import main

if __name__ == "__main__":
    main()
