"""How a worker process stops: after the first SIGTERM it finishes its work, a second kills it."""

import os
import signal
import time
from types import FrameType

#: Signals within this time count as one: a supervisor signals the whole process group, and then the
#: parent process signals its children.
SAME_SIGNAL_S = 1.0


def install_signal_handler() -> None:
    """Make a second SIGTERM kill this process.

    Without this, dramatiq (2.2) raises SystemExit in the main thread at the second signal, which
    interrupts the shutdown, and the remaining threads keep the process alive forever.  Call this in
    the main thread after dramatiq has set its own handler, which still handles the first signal.
    """
    shut_down = signal.getsignal(signal.SIGTERM)
    assert callable(shut_down)
    signalled_at: float | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signalled_at
        if signalled_at is None:
            signalled_at = time.monotonic()
            shut_down(number, frame)
        elif time.monotonic() >= signalled_at + SAME_SIGNAL_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, handle)
