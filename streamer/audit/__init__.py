"""The audit log: written, signed, verified."""
