"""How a worker process ends: told to stop it finishes what it began, told again it dies."""

import os
import signal
import time
from types import FrameType

#: Signals within so long are one: a supervisor tells the whole group, and then its parent does.
SAME_S = 1.0


def heed_signals() -> None:
    """Have a second SIGTERM kill this process.

    dramatiq (2.2) raises SystemExit in the main thread then: that cuts the orderly end short,
    and the threads that it leaves behind keep the process alive for ever.  To be called in the
    main thread, once dramatiq has set its own handler, which goes on answering the first one.
    """
    finish = signal.getsignal(signal.SIGTERM)
    assert callable(finish)
    told_at: float | None = None

    def told(number: int, frame: FrameType | None) -> None:
        nonlocal told_at
        if told_at is None:
            told_at = time.monotonic()
            finish(number, frame)
        elif time.monotonic() >= told_at + SAME_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, told)
