"""Each guard is removed once, and a check that holds with it must fail without it.

This shows that the checks can fail.  No other tests patch our own code.
"""
