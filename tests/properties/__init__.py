"""Holds properties: rules that must hold for every input, tried with inputs that hypothesis generates."""
