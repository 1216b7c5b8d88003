"""Side-by-side measurements of pyctr and the peers installed on this host: `make bench`."""
