"""The version, of this file and of the distribution."""

__version__ = "0.1.0"
