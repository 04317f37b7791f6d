"""Outside checkers: `make judges` starts a store and lets them look at it."""
