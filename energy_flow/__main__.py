"""`python -m energy_flow` is the command `energy-flow`."""

from .cli import main

if __name__ == "__main__":
    main()
