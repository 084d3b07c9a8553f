"""What every run of the tests has in common: the same random examples, and processes that can be interrupted."""

import signal

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")

# A shell starts background jobs with SIGINT ignored, and children inherit that; tests interrupt children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
