# The part of `signal` that is written in C: the same names, with numbers for its enums.
from signal import *  # noqa: F403
