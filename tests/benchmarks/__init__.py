"""Benchmarks, each beside its limit, in one interleaved run.  By hand: `make bench`."""
