"""What holds for every test."""

import signal

# Under nohup it would be ignored here, and so in the servers that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
