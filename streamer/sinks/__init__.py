"""Sinks: files, pictures, servers, windows. Each takes only a `SafeFrame`."""
