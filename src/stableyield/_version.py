"""The version of the package; stored with every plan and run."""

__version__ = "0.1.0"
