"""Benchmarks. Each alternates with its limit within one run. Run them with `make bench`."""
