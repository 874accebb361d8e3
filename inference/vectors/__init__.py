"""After-steps of a class map: areas, buildings with right angles, road networks; and the files they are kept in."""
