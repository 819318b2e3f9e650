"""`python -m cryores_lite` runs the command, where the folder of the scripts is not on the PATH."""

from cryores_lite.cli import main

if __name__ == "__main__":
    main()
