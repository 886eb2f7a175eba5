"""Turns claims into tables: how private, how useful and how natural anonymised pictures and videos are.

Reads real faces and keeps none: what leaves this package are numbers, and pictures only where they were asked for.
"""
