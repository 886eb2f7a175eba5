"""`veil evaluate images`: photos before and after."""
