"""Ctrl-C that waits for the end of a step."""

import signal
import threading
from contextlib import AbstractContextManager
from typing import ClassVar


class Interrupt(AbstractContextManager):
    """While it is entered, a first Ctrl-C is only noted, in `asked`; a second one is raised as usual.

    Python delivers signals to the main thread; those in other threads are asked when the main thread's is.
    """

    _main: ClassVar["Interrupt | None"] = None

    def __init__(self):
        self._noted = False

    @property
    def asked(self) -> bool:
        """Whether there was a Ctrl-C."""
        main = Interrupt._main
        return self._noted or (main is not None and main._noted)

    def __enter__(self) -> "Interrupt":
        self._usual = None
        if threading.current_thread() is threading.main_thread():
            self._outer, Interrupt._main = Interrupt._main, self
            self._usual = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error) -> None:
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)
            Interrupt._main = self._outer

    def _note(self, number, frame) -> None:
        if self._noted:
            raise KeyboardInterrupt
        self._noted = True
