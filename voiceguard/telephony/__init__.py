"""Wire formats of the telephone network, without I/O, and the simulation of its channels."""
