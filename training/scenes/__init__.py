"""Learning one class, or several, for a whole tile."""
