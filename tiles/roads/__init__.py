"""Roads as lines: the middle of what is long and thin, the network that it makes, and how right such a network is."""
