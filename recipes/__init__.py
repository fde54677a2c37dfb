"""Recipes that ship: one YAML file, one experiment. A package so that an installed toolkit finds them."""
