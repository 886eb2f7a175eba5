"""The trainers, one file each, and what they share. Nothing at run time imports it."""
