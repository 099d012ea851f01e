"""Looks into generators: directions in their noise, units and boundaries of their layers."""
