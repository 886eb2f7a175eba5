"""How fast it is on this machine, stage by stage."""
