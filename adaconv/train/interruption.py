"""Ctrl-C and SIGTERM end training after the step under way, not in its middle."""

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(RuntimeError):
    """Training was stopped by a signal; everything up to the step named is saved."""


class Interruption:
    """In the ``with`` block the first signal sets :attr:`requested`; a second one acts as usual.

    Python delivers signals to the main thread only: in any other thread this does nothing.
    """

    def __init__(self) -> None:
        #: Name of the signal that came, or None.
        self.requested: str | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        self._restore()
        # unbuffered: the signal may have come in the middle of a print
        os.write(2, b"\nstopping after this step; once more to stop at once\n")

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
