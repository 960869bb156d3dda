"""The decisions: which worker gets what, and what a death, a failure or a deadline means.

Pure: see `_call` for how to drive it.
"""
