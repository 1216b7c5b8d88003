"""`python -m pyctr` is the `pyctr` command."""

import sys

from pyctr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
