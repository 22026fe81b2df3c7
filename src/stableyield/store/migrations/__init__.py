"""The migrations of the database, each run once and never changed afterwards."""
