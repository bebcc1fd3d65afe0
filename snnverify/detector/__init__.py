"""SiLU to binary spiking: a detector-style family, its checkpoints, their conversion, and what it changed."""
