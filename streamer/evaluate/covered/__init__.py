"""What is attacked: covers of all kinds, what an attacker holds of photos under them, and what of it is kept."""
