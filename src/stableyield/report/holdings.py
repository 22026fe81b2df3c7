"""Where the money was: shares of AUM by pool and by token, and names that people can read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.portfolio import WALLET
from stableyield.errors import ContractError
from stableyield.report.books import exec_dates, refuse_unknown

Floats = NDArray[np.float64]

WALLET_LABEL = "Wallet"

_ID_HEAD = 8  # characters; enough for a uuid
_ID_MARK = " · #"


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of AUM after each day's plan.

    Parameters
    ----------
    days : ndarray of datetime64[D], shape (n_days,)
    keys : tuple of str
        Pool ids or tokens, the largest on average first.
    matrix : ndarray of shape (n_days, n_keys)
        Fractions; each row sums to 1, or to 0 where nothing is owned.
    """

    days: NDArray[np.datetime64]
    keys: tuple[str, ...]
    matrix: Floats

    def without(self, key: str) -> Shares:
        """The same without one column."""
        keep = [i for i, name in enumerate(self.keys) if name != key]
        return Shares(self.days, tuple(self.keys[i] for i in keep), self.matrix[:, keep])

    def column(self, key: str) -> Floats:
        """Share of one key on each day; 0 where it never occurs."""
        if key not in self.keys:
            return np.zeros(len(self.days))
        result: Floats = self.matrix[:, self.keys.index(key)]
        return result


def shares_of_aum(positions: pd.DataFrame, days: NDArray[np.datetime64], by: str) -> Shares:
    """Shares of AUM by ``pool_id`` or ``token`` on each of ``days``.

    Raises
    ------
    ContractError
        When an amount is unknown, or a day of the log has no position row, not even a wallet.
    """
    refuse_unknown(positions, "amount_usd", "positions")
    day = exec_dates(positions)
    table = (
        pd.DataFrame({"day": day, "key": positions[by].astype(str), "usd": positions["amount_usd"]})
        .pivot_table(index="day", columns="key", values="usd", aggfunc="sum", fill_value=0.0)
        .sort_index(axis="columns")
    )
    found = table.index.to_numpy().astype("datetime64[D]")
    if missing := sorted(set(days) - set(found)):
        raise ContractError(
            f"no position on {missing[0]}",
            where="positions",
            remedy="the wallet is a row too; write the book of every day",
        )
    usd = table.to_numpy(dtype=np.float64)[np.searchsorted(found, days)]
    total = usd.sum(axis=1, keepdims=True)
    shares = np.divide(usd, total, out=np.zeros_like(usd), where=total > 0.0)
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    return Shares(days, tuple(str(table.columns[i]) for i in order), shares[:, order])


def pool_labels(positions: pd.DataFrame) -> dict[str, str]:
    """Readable name of each pool: symbol, protocol and chain; the id decides between equals."""
    columns = ["pool_id", "symbol", "protocol", "chain"]
    pools = positions[columns].drop_duplicates("pool_id").sort_values("pool_id")
    labels = {}
    for pool_id, *parts in pools.astype("object").itertuples(index=False):
        names = [str(part) for part in parts if isinstance(part, str) and part]
        labels[str(pool_id)] = " · ".join(names) or str(pool_id)
    return {**_told_apart(labels), WALLET: WALLET_LABEL}


def _told_apart(labels: dict[str, str]) -> dict[str, str]:
    """Equal labels get the head of their pool id, or all of it where the heads are equal too."""
    for length in (_ID_HEAD, None):
        counts = Counter(labels.values())
        labels = {
            pool_id: label
            if counts[label] == 1
            else f"{label.split(_ID_MARK)[0]}{_ID_MARK}{pool_id[:length]}"
            for pool_id, label in labels.items()
        }
    return labels
