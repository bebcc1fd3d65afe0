"""What a network costs on hardware: counts, energy, mapping, and the audit of what others claim of it."""
