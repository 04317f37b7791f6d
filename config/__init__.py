"""Settings, logging and everything that deploys the store."""
