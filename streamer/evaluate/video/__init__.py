"""`veil evaluate video`: clips before and after."""
