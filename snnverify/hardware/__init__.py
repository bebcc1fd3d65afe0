"""What a network costs on hardware: operation counts, energy, mapping, and the audit of claims about them."""
