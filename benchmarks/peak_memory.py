"""Peak memory in MB of a process that draws and solves one market-like instance, and nothing else.

Usage::

    python benchmarks/peak_memory.py N_POOLS N_TOKENS AUM_USD
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

from instances import market
from stableyield.allocation import solve


def peak_mb() -> float:
    """Peak of this program; `getrusage` counts what the parent had before this program began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return float(line.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_pools", type=int)
    parser.add_argument("n_tokens", type=int)
    parser.add_argument("aum_usd", type=float)
    arguments = parser.parse_args()
    before = peak_mb()
    solve(market(arguments.n_pools, arguments.n_tokens, arguments.aum_usd, seed=1))
    print(f"{peak_mb():.0f} {before:.0f}")


if __name__ == "__main__":
    main()
