"""``python -m fusemax`` is the command ``fusemax``."""

from fusemax.cli import main

if __name__ == "__main__":
    main()
