"""What is known and since when."""
