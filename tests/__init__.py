"""The tests: the folders of the code again, and end-to-end, browser, fault tests and benchmarks."""
