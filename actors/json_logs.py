"""`python -m actors.json_logs actors ...`: dramatiq's command line, with our log format.

dramatiq's own set-up keeps handlers that exist before it starts.
"""

import runpy

from config import log

if __name__ == "__main__":
    log.set_up()
    runpy.run_module("dramatiq", run_name="__main__", alter_sys=True)
