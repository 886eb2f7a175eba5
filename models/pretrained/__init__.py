"""Weights that others publish: recognised, verified, converted, kept."""
