"""Markets from the layouts in which users have such data.

`import_market` turns aggregator charts, vault share prices or lend/borrow history into the tables
of a market. Each layout's module says which traps its source holds and what is done about them.
"""

from __future__ import annotations

from stableyield.market.layouts.importer import LAYOUTS, Layout, import_market
from stableyield.market.layouts.lend_borrow import read_lend_borrow_layout
from stableyield.market.layouts.panel import read_panel_layout
from stableyield.market.layouts.vaults import read_vaults_layout

__all__ = [
    "LAYOUTS",
    "Layout",
    "import_market",
    "read_lend_borrow_layout",
    "read_panel_layout",
    "read_vaults_layout",
]
