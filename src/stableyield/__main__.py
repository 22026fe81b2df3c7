"""``python -m stableyield`` is the command line."""

from __future__ import annotations

from stableyield.cli.app import main

if __name__ == "__main__":
    main()
