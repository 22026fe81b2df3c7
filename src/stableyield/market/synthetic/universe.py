"""Which pools a synthetic market has: identity, tokens and listing days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from stableyield.domain.pool import Pool, PoolKind
from stableyield.market.synthetic.settings import SyntheticSettings

_PROTOCOLS: dict[PoolKind, tuple[str, ...]] = {
    PoolKind.LENDING: ("aave-v3", "compound-v3", "spark", "fluid-lending"),
    PoolKind.VAULT: ("morpho-blue", "euler-v2", "yearn-finance"),
    PoolKind.AMM: ("curve-dex", "convex-finance", "balancer-v3"),
}
_CHAINS = ("Ethereum", "Base", "Arbitrum", "Polygon", "Optimism")
_CHAIN_WEIGHTS = (0.5, 0.18, 0.16, 0.08, 0.08)
_LENDING_SHARE = 0.5  # of the pools with one token; the others are vaults
_SHARE_CONCENTRATION = 20.0  # Dirichlet: most pairs are between 30:70 and 70:30
_MIN_LISTED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Listing:
    """A pool and the day offsets on which it is listed.

    Parameters
    ----------
    pool : Pool
        With the whole truth in ``listed_from`` and ``listed_until``, the future included.
    first, last : int
        First and last listed day, counted from the market's first day.
    """

    pool: Pool
    first: int
    last: int


def draw_universe(
    settings: SyntheticSettings, streams: list[np.random.Generator]
) -> tuple[Listing, ...]:
    """One listing per stream, in order; a pool depends on its own stream only."""
    return tuple(_draw_listing(settings, i, stream) for i, stream in enumerate(streams))


def _draw_listing(settings: SyntheticSettings, i: int, stream: np.random.Generator) -> Listing:
    model = settings.universe
    first = 0
    is_late = stream.random() < model.late_share
    if is_late and i > 0:  # the first pool is there from the first day: no market is empty
        first = 1 + int(stream.random() * model.listing_window_days)
    lifetime = stream.standard_exponential() / max(model.delisting_hazard, 1e-9)
    last = first + _MIN_LISTED_DAYS + min(int(lifetime), 100_000)
    tokens = _draw_tokens(settings, stream)
    kind = PoolKind.AMM
    if len(tokens) == 1:
        kind = PoolKind.LENDING if stream.random() < _LENDING_SHARE else PoolKind.VAULT
    shares = stream.dirichlet([_SHARE_CONCENTRATION] * len(tokens)) if len(tokens) > 1 else [1.0]
    pool = Pool(
        pool_id=f"synthetic-{i + 1:04d}",
        symbol="-".join(tokens),
        chain=str(stream.choice(_CHAINS, p=_CHAIN_WEIGHTS)),
        protocol=str(stream.choice(_PROTOCOLS[kind])),
        tokens=tokens,
        token_shares=tuple(float(share) for share in shares),
        kind=kind,
        listed_from=settings.first_day + timedelta(days=first),
        listed_until=settings.first_day + timedelta(days=last),
    )
    return Listing(pool, first, last)


def _draw_tokens(settings: SyntheticSettings, stream: np.random.Generator) -> tuple[str, ...]:
    model = settings.universe
    u = stream.random()
    n_tokens = (
        3 if u < model.triple_share else 2 if u < model.triple_share + model.pair_share else 1
    )
    weights = np.arange(1, len(settings.tokens) + 1) ** -model.zipf_exponent
    chosen = stream.choice(
        len(settings.tokens), size=n_tokens, replace=False, p=weights / weights.sum()
    )
    return tuple(settings.tokens[j] for j in chosen)
