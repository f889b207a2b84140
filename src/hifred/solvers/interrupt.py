"""Ctrl-C that waits for the end of a step."""

import signal
import threading
from contextlib import AbstractContextManager


class Interrupt(AbstractContextManager):
    """While it is entered, a first Ctrl-C is only noted, in `asked`; a second one is raised as usual.

    Python delivers signals to the main thread; in any other nothing is changed.
    """

    def __init__(self):
        self.asked = False

    def __enter__(self) -> "Interrupt":
        self._usual = None
        if threading.current_thread() is threading.main_thread():
            self._usual = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error) -> None:
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)

    def _note(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
