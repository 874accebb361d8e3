"""Objects over whole rasters: finding them, naming their class, making them unrecognisable, and measuring how right that is."""
