"""Vectorised arithmetic on arrays alone: synapses, neuron dynamics, encodings. Nothing here knows a network."""
