"""Metrics, figures and documents."""
