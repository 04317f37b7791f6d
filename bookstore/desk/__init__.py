"""What staff look at: lists that can be sorted, filtered and counted, and sums.

Nothing here decides anything; each list is a handful of statements, whatever its size.
"""
