"""``python -m adaconv``: the command line."""

import sys

from adaconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
