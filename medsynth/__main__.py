"""`python -m medsynth`: the same as the `medsynth` command."""

from medsynth.cli import main

if __name__ == "__main__":
    main()
