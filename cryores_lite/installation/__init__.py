"""The test of an installation."""
