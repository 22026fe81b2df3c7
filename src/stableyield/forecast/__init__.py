"""APY and TVL of the horizon, with quantiles."""
