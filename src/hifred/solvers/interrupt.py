"""Ctrl-C that waits for the end of a step."""

import signal
import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar


class Interrupt(AbstractContextManager):
    """While it is entered, a first Ctrl-C is only noted, in `asked`; a second one is raised as usual.

    One that is entered within another notes it for both: what the inner one has no more use for, the outer one has.

    Where Ctrl-C is ignored (as in what a script's shell starts in the background), it stays so.

    Python delivers signals to the main thread. In others, those that run in a copy of its context (`contextvars`) ask
    the one that was entered there.
    """

    def __init__(self):
        self._noted = False
        self._outer = _entered.get()

    @property
    def asked(self) -> bool:
        """Whether work is to end."""
        return self._noted or (self._outer is not None and self._outer.asked)

    def ask(self) -> None:
        """End the work of all that ask this one."""
        self._noted = True

    def __enter__(self) -> "Interrupt":
        self._usual = None
        self._token = _entered.set(self)
        # None: it was set by other code than Python's, and could not be put back.
        usual = signal.getsignal(signal.SIGINT)
        if usual not in (None, signal.SIG_IGN) and threading.current_thread() is threading.main_thread():
            self._usual = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error) -> None:
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)
        _entered.reset(self._token)

    def _note(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        entered: Interrupt | None = self
        while entered is not None:
            entered.ask()
            entered = entered._outer


_entered: ContextVar[Interrupt | None] = ContextVar("entered", default=None)
