"""What the sampled inputs tell: scales, pedestals, and places where too much or too little is seen."""
