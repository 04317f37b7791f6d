"""Settings, logging and the files for deployment."""
