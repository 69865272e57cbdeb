"""Puts deliberate defects into the product's code; a scenario must catch each of them. Start with ``mutants``."""
