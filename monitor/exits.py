"""The exit codes of `driftd`, those of sysexits.h where it has one; each has one meaning in every command.

0 is success, and click's own 2 a command line that it cannot read.
"""

EX_FAILED = 1
"""It was tried and failed, or the answer is no: what was verified or compared differs."""

EX_USAGE = 64
"""A value that was given cannot be used, here or by the daemon."""

EX_DATA = 65
"""Events, scores or histograms cannot be read, or nothing can be made of them."""

EX_NO_STREAM = 66
"""The daemon knows nothing of that name: no such stream, proposal or payload."""

EX_UNAVAILABLE = 69
"""What must answer does not: the daemon, a board, Grafana."""

EX_REFUSED = 75
"""The stream's loop does not allow this in the state that it is in; try again later."""

EX_NOPERM = 77
"""No token, or one whose role does not allow this."""

EX_CONFIG = 78
"""The configuration, or the specification of a model, has faults."""
