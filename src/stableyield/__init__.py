"""stableyield: puts a stablecoin treasury to work in DeFi and proves what it did."""

from __future__ import annotations

from stableyield._version import __version__

__all__ = ["__version__"]
