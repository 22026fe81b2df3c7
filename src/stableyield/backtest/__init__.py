"""The daily loop and its books."""
