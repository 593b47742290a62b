"""`python -m hidlr`."""

import sys

from hidlr.cli import main

if __name__ == "__main__":
    sys.exit(main())
