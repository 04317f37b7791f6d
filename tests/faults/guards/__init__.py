"""Each guard is taken away once, and a check that holds with it has to fail without it.

What a zero is worth is seen here.  Nowhere else do tests patch our own code.
"""
