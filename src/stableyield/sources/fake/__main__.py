"""``python -m stableyield.sources.fake``: every provider, on 127.0.0.1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from stableyield.errors import StableyieldError
from stableyield.market.files import read_frames
from stableyield.market.frames import MarketFrames
from stableyield.market.synthetic import SyntheticSettings, simulate_market
from stableyield.sources.fake.documents import MarketDocuments, checked_frames
from stableyield.sources.fake.faults import FAULTS
from stableyield.sources.fake.provider import (
    FakeProvider,
    FakeSettings,
    known_routes,
    wallet_of,
)
from stableyield.sources.fake.server import LocalServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with serve(options) as server:
            print(f"fake providers at {server.url} ({', '.join(known_routes())})", flush=True)  # noqa: T201
            server.wait()
    except KeyboardInterrupt:
        return 0
    except StableyieldError as error:
        print(error.one_line, file=sys.stderr)  # noqa: T201 - this is a command
        return error.exit_code
    return 0


def serve(options: argparse.Namespace) -> LocalServer:
    """Start the server that the options ask for.

    Raises
    ------
    InputError
        When the market cannot be read or an option is wrong.
    """
    today: date = options.today or datetime.now(UTC).date()
    frames = checked_frames(_market(options, today), today)
    settings = FakeSettings(wallet=wallet_of(options.wallet), faults=options.fault)
    provider = FakeProvider(MarketDocuments(frames), today, settings)
    return LocalServer(provider.respond, options.port)


def _market(options: argparse.Namespace, today: date) -> MarketFrames:
    if options.market is not None:
        return read_frames(options.market, confirm_percent=True)
    first = today - timedelta(days=options.days - 1)
    return simulate_market(
        SyntheticSettings(
            seed=options.seed, n_days=options.days, n_pools=options.pools, first_day=first
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stableyield.sources.fake",
        description="Serve the documented routes of every provider from a market, on 127.0.0.1.",
    )
    add = parser.add_argument
    add("--port", type=int, default=8090, help="0 takes a free one")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--market", type=Path, help="market directory (docs/formats.md), moved to end today"
    )
    which.add_argument("--synthetic", action="store_true", help="a simulated market (default)")
    add("--days", type=int, default=365, help="of the simulated market")
    add("--pools", type=int, default=60, help="of the simulated market")
    add("--seed", type=int, default=1, help="of the simulated market")
    add("--today", type=date.fromisoformat, help="the day that is shown as now (YYYY-MM-DD)")
    add("--wallet", action="append", default=[], metavar="TOKEN=AMOUNT")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="ROUTE=FAULT[*N]",
        help=f"break a route, for N calls or for good: {', '.join(FAULTS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
