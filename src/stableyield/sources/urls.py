"""Where the providers are; all of them can be moved, to a proxy or to the fake provider."""

from __future__ import annotations

from dataclasses import dataclass

from stableyield.sources.aave import AAVE_URL
from stableyield.sources.candles import CMC_URL
from stableyield.sources.defillama import YIELDS_URL
from stableyield.sources.etherscan import ETHERSCAN_URL
from stableyield.sources.lend_borrow import PRO_URL
from stableyield.sources.prices import COINS_URL, STABLECOINS_URL


@dataclass(frozen=True, slots=True)
class ProviderUrls:
    """Base URLs of the providers.

    Parameters
    ----------
    yields, pro, stablecoins, coins : str
        Of DefiLlama.
    cmc, etherscan, aave : str
    """

    yields: str = YIELDS_URL
    pro: str = PRO_URL
    stablecoins: str = STABLECOINS_URL
    coins: str = COINS_URL
    cmc: str = CMC_URL
    etherscan: str = ETHERSCAN_URL
    aave: str = AAVE_URL

    @classmethod
    def under(cls, root: str) -> ProviderUrls:
        """All providers under one address, as ``python -m stableyield.sources.fake`` serves them.

        ``http://127.0.0.1:8090`` gives ``http://127.0.0.1:8090/yields`` and so on.
        """
        base = root.rstrip("/")
        return cls(
            yields=f"{base}/yields",
            pro=f"{base}/pro",
            stablecoins=f"{base}/stablecoins",
            coins=f"{base}/coins",
            cmc=f"{base}/cmc",
            etherscan=f"{base}/etherscan",
            aave=f"{base}/aave/graphql",
        )
