"""How fast a run of explain.py is: told beforehand, prepared for, or measured while it runs."""
