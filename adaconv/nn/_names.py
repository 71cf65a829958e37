"""Help with names that users type."""

import difflib
from collections.abc import Collection


def unknown(kind: str, name: object, known: Collection[str]) -> str:
    """Return an error message: that no ``kind`` has this name, the nearest one, and all of them.

    >>> unknown("loss", "hing", ["hinge", "wasserstein"])
    "no loss is called 'hing'; did you mean 'hinge'? There are: hinge, wasserstein"
    """
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"no {kind} is called {name!r}{hint} There are: {', '.join(known)}"
