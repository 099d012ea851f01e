"""`python -m tgim` is the command `tgim`."""

from tgim.cli.main import main

if __name__ == "__main__":
    main()
