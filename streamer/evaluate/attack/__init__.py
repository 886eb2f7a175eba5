"""`veil evaluate attack`: attackers against covers."""
