"""`python -m pyctr.cli.runtime`."""

from pyctr.cli.runtime import main

main()
