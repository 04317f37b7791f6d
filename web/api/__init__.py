"""The REST API: a module for each noun, its schemas and its description."""
