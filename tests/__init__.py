"""The tests; a package, since others of that name lie in site-packages."""
