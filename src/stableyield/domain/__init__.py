"""Pure values and formulas: no I/O, no pandas."""
