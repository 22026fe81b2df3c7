"""Which tokens are not meant to be worth one US dollar.

Symbols are case-exact. The fair price of these is a share price or a foreign currency: without
`peg_usd` nothing is known about their deviation, and 1 USD would be a wrong guess.
"""

from __future__ import annotations

from typing import Final

_YIELD_BEARING = """
    sDAI sUSDe sUSDS sFRAX sfrxUSD scrvUSD sDOLA sUSDX sUSDf sUSDai sUSDz sUSDa sUSDp sdeUSD sBOLD
    sGHO savUSD stUSD stcUSD syUSD syrupUSDC syrupUSDT wstUSR RLP wUSDM wUSDL wOUSD USDY mUSDY
    USD0++ xUSD yUSD ysUSDC cUSDO slvlUSD smsUSD srUSD wsrUSD sNUSD sUSN mTBILL mBASIS OUSG USTB
    USYC
"""
_FOREIGN_CURRENCY = """
    EURC EURS EURT EURA agEUR stEUR EURe EURCV EUROe EURR EURQ jEUR sEUR cEUR VEUR ibEUR PAR ZCHF
    svZCHF VCHF GBPT tGBP VGBP CADC QCAD AUDD AUDF NZDS XSGD GYEN JPYC MXNB MXNT BRZ BRLA cREAL
    TRYB CNHT IDRT IDRX XIDR cKES XAUt XAUT PAXG
"""

YIELD_BEARING_TOKENS: Final = frozenset(_YIELD_BEARING.split())
FOREIGN_CURRENCY_TOKENS: Final = frozenset(_FOREIGN_CURRENCY.split())
TOKENS_WITHOUT_USD_PEG: Final = YIELD_BEARING_TOKENS | FOREIGN_CURRENCY_TOKENS
