"""Vault share prices: realised yield of ERC-4626 vaults (``vault_daily`` and ``vault_meta``).

Traps of this source:

* The key is (chain, address): the same address is another vault on another chain.
* ``outlier`` marks readings whose share price moved by more than a fifth: glitches. Such a row is
  made unknown, and since the *next* row's published return and the next week's published trailing
  yield are measured against it, both are computed anew from the rows that stand.
* A row may come days after the one before. The growth in between belongs to no single day; it is
  booked in full on the day on which it became known. Spreading it over the gap would show a
  decision inside the gap a reading of tomorrow.
* Where a level shift survives the glitch, a fall is a real loss if the vault's assets fell with
  it, and is kept. A rise of more than a fifth, or a fall of the price alone, is another way of
  counting shares: the return is unknown, as is the trailing yield that looks back across it.
  A fall first takes back what a rise before it was not paid for.
* Share prices come in any scale (1e-8 to 1e16); only ratios mean something.
* ``total_assets`` is in tokens of the denomination, not in USD.
* Every vault has rows close to the end of the source: vaults that were closed earlier are absent
  (survivorship), and no return of theirs can be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.market.columns import Origin, to_flags, to_numbers, to_texts, to_timestamps
from stableyield.market.layouts.symbols import token_named
from stableyield.market.layouts.tables import LayoutTables, need_columns, refuse_repeats

TRAILING_DAYS = 7
LONGEST_TRAILING_DAYS = 14  # an older base would no longer make it a yield of last week
LEVEL_SHIFT = 0.20  # the source's own limit for an outlier
QUARANTINE_DAYS = 30  # a vault is not bought for so long after a glitch
_DAILY = ("chain", "address", "date", "share_price", "total_assets", "outlier")
_META = ("chain", "chain_name", "address", "symbol", "protocol", "denom")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Readings:
    """Readings that stand, sorted by vault and day: arrays of shape (n_readings,)."""

    vault: NDArray[np.int64]
    day: NDArray[np.int64]
    share_price: Floats
    total_assets: Floats
    after_glitch: Flags  # a masked row lies between this reading and the one before


def read_vaults_layout(daily: pd.DataFrame, meta: pd.DataFrame) -> LayoutTables:
    """Pools and daily rows of vaults; see the module for the source's traps.

    All vaults with rows are imported, small and short-lived ones too: leaving out those that never
    grew would be a look into the future, and how small is too small is for screening to say.
    ``is_filtered_out`` is set from a glitch on for 30 days.

    Parameters
    ----------
    daily : DataFrame
        chain, address, date, share_price, total_assets, outlier.
    meta : DataFrame
        chain, chain_name, address, symbol, protocol, denom [denom_addr].

    Returns
    -------
    LayoutTables
        Sizes in tokens.

    Raises
    ------
    ContractError
        When a column is missing or cannot be read.
    """
    rows = _rows(daily)
    glitch = rows["glitch"].to_numpy()
    readings = _readings(rows[~glitch], glitch)
    growth, is_shift = _growth(readings)
    stands = rows.index[~glitch]
    rows.loc[stands, "return_1d"] = growth
    rows.loc[stands, "apy_pct"] = _trailing_apy_pct(readings, is_shift)
    rows.loc[stands, "tvl_usd"] = readings.total_assets
    rows["is_filtered_out"] = _quarantined(rows)
    pools, sentences = _pools(meta, rows)
    rows = rows.merge(pools[["chain_key", "pool_id"]], on="chain_key", how="left")
    known = rows["pool_id"].notna()
    masked = {
        "rows flagged as outlier": int(rows["flagged"].sum()),
        "rows without a usable share price or size": int((rows["glitch"] & ~rows["flagged"]).sum()),
        "returns over a change of share counting": int(is_shift.sum()),
        "rows of vaults without metadata": int((~known).sum()),
    }
    columns = ["pool_id", "date", "apy_pct", "tvl_usd", "return_1d", "is_filtered_out"]
    return LayoutTables(
        pools.drop(columns="chain_key"),
        rows.loc[known, columns].assign(deposits_usd=rows["tvl_usd"]),
        sizes_in_tokens=True,
        masked={reason: n for reason, n in masked.items() if n},
        assumptions=(
            f"APY is the realised yield of the last {TRAILING_DAYS} days, from share prices.",
            *sentences,
        ),
    )


def _rows(daily: pd.DataFrame) -> pd.DataFrame:
    """The source's rows, typed, by vault and day, the last reading of a day."""
    origin = Origin("vault_daily")
    need_columns(daily, _DAILY, origin.file)
    rows = pd.DataFrame(
        {
            "chain_key": _chain_key(daily),
            "date": to_timestamps(daily["date"], origin),
            "share_price": to_numbers(daily["share_price"], origin),
            "total_assets": to_numbers(daily["total_assets"], origin),
            "flagged": to_flags(daily["outlier"], origin, default=False),
        }
    )
    refuse_repeats(rows, ("chain_key", "date"), origin)
    rows = rows.sort_values(["chain_key", "date"], kind="stable")
    rows["date"] = rows["date"].dt.floor("D")
    rows = rows.drop_duplicates(["chain_key", "date"], keep="last").reset_index(drop=True)
    price, assets = rows["share_price"], rows["total_assets"]
    usable = np.isfinite(price) & (price > 0.0) & np.isfinite(assets) & (assets >= 0.0)
    rows["glitch"] = rows["flagged"] | ~usable
    for name in ("return_1d", "apy_pct", "tvl_usd"):
        rows[name] = np.nan
    return rows


def _chain_key(frame: pd.DataFrame) -> pd.Series[str]:
    """(chain, address) as one text; addresses are compared in lower case."""
    return frame["chain"].astype("str") + ":" + to_texts(frame["address"]).str.lower()


def _readings(rows: pd.DataFrame, glitch: Flags) -> _Readings:
    glitches_so_far = np.cumsum(glitch)[~glitch]
    return _Readings(
        vault=pd.factorize(rows["chain_key"])[0].astype(np.int64),
        day=_day_numbers(rows["date"]),
        share_price=rows["share_price"].to_numpy(),
        total_assets=rows["total_assets"].to_numpy(),
        after_glitch=np.diff(glitches_so_far, prepend=0) > 0,
    )


def _day_numbers(dates: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    result: NDArray[np.int64] = dates.to_numpy().astype("datetime64[D]").astype(np.int64)
    return result


def _growth(readings: _Readings) -> tuple[Floats, Flags]:
    """Growth since the reading before, and where it is a change of share counting.

    NaN for the first reading of a vault and for a change of share counting.
    """
    is_first = np.diff(readings.vault, prepend=-1) != 0
    growth = np.full(len(is_first), np.nan)
    growth[1:] = readings.share_price[1:] / readings.share_price[:-1] - 1.0
    growth[is_first] = np.nan
    assets_before = np.roll(readings.total_assets, 1)
    with np.errstate(invalid="ignore"):
        rose = growth > LEVEL_SHIFT
        # a real loss takes the assets down with it: by half of it at least, after new deposits
        kept_assets = readings.total_assets > assets_before * (1.0 + growth / 2.0)
        fell_alone = (growth < -LEVEL_SHIFT) & kept_assets
    is_shift = readings.after_glitch & (rose | fell_alone)
    fell = readings.after_glitch & (growth < -LEVEL_SHIFT)
    kept = _less_unpaid_rises(readings.vault, growth, is_shift, fell)
    is_shift |= kept != growth  # a trailing yield does not look across a corrected fall either
    is_shift &= ~is_first
    return kept, is_shift


def _less_unpaid_rises(
    vault: NDArray[np.int64], growth: Floats, is_shift: Flags, fell: Flags
) -> Floats:
    """Growth, NaN at changes of share counting; a fall first takes back rises that were not paid.

    A price that glitches from 1 to 8000 for three readings and back to 1 has lost nothing.
    """
    kept = np.where(is_shift, np.nan, growth)
    unpaid: dict[int, float] = {}
    for i in np.flatnonzero(is_shift | fell):  # a few in ten thousand rows
        factor = float(unpaid.get(vault[i], 1.0) * (1.0 + growth[i]))
        if not is_shift[i]:
            kept[i] = min(factor, 1.0) - 1.0
        unpaid[vault[i]] = max(factor, 1.0)
    return kept


def _trailing_apy_pct(readings: _Readings, is_shift: Flags) -> Floats:
    """Yield since the last reading that is at least 7 days old, percent a year.

    ``(price / price_before) ** (365 / days) - 1``. NaN where there is no such reading, where it is
    more than 14 days old, or where the counting of shares changed in between.
    """
    stride = int(readings.day.max(initial=0)) + TRAILING_DAYS + 1  # a week back stays in a vault
    moment = readings.vault * stride + readings.day
    base = np.searchsorted(moment, moment - TRAILING_DAYS, side="right") - 1
    base = np.maximum(base, 0)
    days = (readings.day - readings.day[base]).astype(np.float64)
    shifts = np.cumsum(is_shift)
    usable = (
        (readings.vault == readings.vault[base])
        & (days >= TRAILING_DAYS)
        & (days <= LONGEST_TRAILING_DAYS)
        & (shifts == shifts[base])
    )
    apy_pct = np.full(len(days), np.nan)
    ratio = readings.share_price[usable] / readings.share_price[base[usable]]
    with np.errstate(over="ignore"):  # an absurd yield becomes infinite and is masked later
        apy_pct[usable] = 100.0 * np.expm1(np.log(ratio) * (DAYS_PER_YEAR / days[usable]))
    return apy_pct


def _quarantined(rows: pd.DataFrame) -> Flags:
    """Whether a vault had a glitch within the last 30 days, this one included."""
    last_glitch = rows["date"].where(rows["glitch"]).groupby(rows["chain_key"]).ffill()
    age = rows["date"] - last_glitch
    return (age < pd.Timedelta(days=QUARANTINE_DAYS)).to_numpy()


def _pools(meta: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    need_columns(meta, _META, "vault_meta")
    text = {name: to_texts(meta[name]) for name in _META if name != "chain"}
    denomination = text["denom"].map(token_named)
    pools = pd.DataFrame(
        {
            "pool_id": text["chain_name"] + ":" + text["address"].str.lower(),
            "symbol": text["symbol"].fillna(text["address"].str.slice(0, 10)),
            "chain": text["chain_name"],
            "protocol": text["protocol"].str.strip("<>"),
            "tokens": [(token,) for token in denomination],
            "kind": "vault",
            "chain_key": _chain_key(meta),
        }
    )
    sentences = []
    if "denom_addr" in meta:
        addresses = to_texts(meta["denom_addr"]).str.lower()
        known = addresses.notna()
        pools["token_addresses"] = [
            (address,) if is_known else ()
            for address, is_known in zip(addresses, known, strict=True)
        ]
        several = addresses.groupby([text["chain_name"], denomination]).nunique()
        if names := [f"{token} on {chain}" for chain, token in several[several > 1].index]:
            sentences.append(
                f"Several contracts go by one symbol and are taken as one token: "
                f"{', '.join(names)}; approve tokens by address to tell them apart."
            )
    used = pools["chain_key"].isin(rows["chain_key"])
    if n_unused := int((~used).sum()):
        sentences.append(f"{n_unused} vaults of the metadata have no rows and are left out.")
    sentences.append(_survivorship(rows))
    return pools[used].sort_values("pool_id").reset_index(drop=True), sentences


def _survivorship(rows: pd.DataFrame) -> str:
    last = rows.groupby("chain_key")["date"].max()
    n_alive = int((last >= last.max() - pd.Timedelta(days=TRAILING_DAYS)).sum())
    return (
        f"{n_alive} of {len(last)} vaults have rows in the last week of the source: it knows "
        "survivors rather than all vaults that there were."
    )
