"""External checkers: `make judges` runs them against a store."""
