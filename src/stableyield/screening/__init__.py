"""Which pools may be used today."""
