"""Tests: one folder for each package, plus end-to-end, browser and fault tests and benchmarks."""
