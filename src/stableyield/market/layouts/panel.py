"""Aggregator charts: quoted daily APY and TVL of lending pools and vaults (``lending_panel``).

Traps of this source:

* ``series`` is the key; ``pool_id`` is missing for some series. It is used where it names exactly
  one series, else the series' name is the pool's id.
* ``apy_base`` of Aave, SparkLend and Compound v3 is an APR that compounds continuously on chain,
  of Morpho, Euler v2, Venus and Spark's savings vaults an APY. Of others it is not known: taken as
  APY (the lower reading of the same number), and said so. The list is
  `stableyield.market.layouts.projects`.
* A reward is a simple rate. It is paid out, not compounded, and is kept as published: over a year
  it gives the published rate and never more.
* ``tvl_usd`` of a lending reserve is the cash that can be withdrawn now (supplied - borrowed), of
  a vault its deposits. The other size is unknown.
* Symbols are capitals and curators' names; see `stableyield.market.layouts.symbols`.
* Starts are ragged and days are missing: nothing is filled. Listing days are not known; a pool is
  known from its first row on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.pool import PoolKind
from stableyield.domain.rates import apr_to_apy
from stableyield.market.columns import Origin, to_numbers, to_texts, to_timestamps
from stableyield.market.layouts.projects import pool_kind, rate_convention
from stableyield.market.layouts.symbols import resolve_symbol
from stableyield.market.layouts.tables import LayoutTables, need_columns, refuse_blanks

_IDENTITY = ("project", "chain", "symbol")
_NEEDED = ("series", *_IDENTITY, "date", "tvl_usd", "apy")


def read_panel_layout(panel: pd.DataFrame) -> LayoutTables:
    """Pools and daily rows of aggregator charts; see the module for the source's traps.

    Parameters
    ----------
    panel : DataFrame
        series, project, chain, symbol, date, tvl_usd, apy [pool_id, apy_base, apy_reward];
        percent and USD.

    Raises
    ------
    ContractError
        When a column is missing or cannot be read.
    """
    origin = Origin("panel")
    need_columns(panel, _NEEDED, origin.file)
    rows = pd.DataFrame(
        {
            **{name: to_texts(panel[name]) for name in _IDENTITY},
            "pool_id": _pool_ids(to_texts(panel["series"]), panel.get("pool_id")),
            "date": to_timestamps(panel["date"], origin),
            "tvl_usd": to_numbers(panel["tvl_usd"], origin),
            **{
                name: to_numbers(panel[name], origin)
                if name in panel
                else pd.Series(np.nan, panel.index)
                for name in ("apy", "apy_base", "apy_reward")
            },
        },
        copy=False,
    )
    refuse_blanks(rows, ("pool_id", *_IDENTITY), origin)
    pools, sentences = _pools(rows)
    is_simple = {name: rate_convention(name) == "simple" for name in rows["project"].unique()}
    is_apr = rows["project"].map(is_simple).to_numpy(dtype=bool)
    kind = rows["pool_id"].map(pools.set_index("pool_id")["kind"])
    apys = _apys(rows, is_apr)
    daily = pd.DataFrame(
        {
            "pool_id": rows["pool_id"],
            "date": rows["date"],
            "apy_pct": apys["apy_pct"],
            "tvl_usd": rows["tvl_usd"],
            "apy_base_pct": apys["apy_base_pct"],
            "apy_reward_pct": apys["apy_reward_pct"],
            "deposits_usd": rows["tvl_usd"].where(kind == PoolKind.VAULT.value),
            "available_usd": rows["tvl_usd"].where(kind == PoolKind.LENDING.value),
        },
        copy=False,
    )
    return LayoutTables(pools, daily, assumptions=(*_rate_sentences(rows["project"]), *sentences))


def _pool_ids(series: pd.Series[Any], pool_id: pd.Series[Any] | None) -> pd.Series[Any]:
    """The published id where one id and one series belong to each other alone, else the series."""
    if pool_id is None:
        return series
    published = to_texts(pool_id)
    pairs = pd.DataFrame({"series": series, "pool_id": published}).drop_duplicates()
    alone = ~pairs["series"].duplicated(keep=False) & ~pairs["pool_id"].duplicated(keep=False)
    unambiguous = pairs[alone & pairs["pool_id"].notna()].set_index("series")["pool_id"]
    return series.map(unambiguous.to_dict()).astype("str").fillna(series)


def _apys(rows: pd.DataFrame, is_apr: np.ndarray[Any, np.dtype[np.bool_]]) -> pd.DataFrame:
    """apy_pct, apy_base_pct, apy_reward_pct; the total is base + reward where both are known."""
    total, base = rows["apy"].to_numpy(), rows["apy_base"].to_numpy()
    # an unknown reward is 0 only if the total says so
    reward = np.where(
        rows["apy_reward"].isna() & (total == base), 0.0, rows["apy_reward"].to_numpy()
    )
    base_apy = np.where(is_apr, 100.0 * apr_to_apy(base / 100.0), base)
    unsplit = np.where(is_apr, 100.0 * apr_to_apy(total / 100.0), total)
    both = np.isfinite(base) & np.isfinite(reward)
    return pd.DataFrame(
        {
            "apy_pct": np.where(both, base_apy + reward, unsplit),
            "apy_base_pct": base_apy,
            "apy_reward_pct": reward,
        },
        index=rows.index,
        copy=False,
    )


def _pools(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    first = rows.drop_duplicates("pool_id")
    resolved = {symbol: resolve_symbol(symbol) for symbol in sorted(first["symbol"].unique())}
    pools = pd.DataFrame(
        {
            "pool_id": first["pool_id"],
            "symbol": first["symbol"],
            "chain": first["chain"],
            "protocol": first["project"],
            "tokens": [resolved[symbol].tokens for symbol in first["symbol"]],
            "kind": [pool_kind(project).value for project in first["project"]],
        }
    )
    sentences = []
    for found, text in (
        ("curated vault", "Vault symbols are taken as the dollar in their name"),
        ("unresolved", "Symbols that stand for no known token stay without a price"),
    ):
        if symbols := [symbol for symbol, one in resolved.items() if one.found == found]:
            sentences.append(f"{text}: {', '.join(symbols)}.")
    return pools.sort_values("pool_id").reset_index(drop=True), sentences


def _rate_sentences(projects: pd.Series[Any]) -> list[str]:
    by_convention: dict[str, list[str]] = {}
    for project in sorted(projects.unique()):
        by_convention.setdefault(rate_convention(project), []).append(project)
    texts = {
        "simple": "apy_base of {} is an APR and was converted to APY as exp(apr) - 1.",
        "unknown": "Whether apy_base of {} is APR or APY is not known; it is taken as APY.",
    }
    return [
        text.format(", ".join(by_convention[name]))
        for name, text in texts.items()
        if name in by_convention
    ]
