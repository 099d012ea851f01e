"""`python -m tgim` is the command `tgim`."""

from tgim.cli import main

if __name__ == "__main__":
    main()
