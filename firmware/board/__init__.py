"""Boards that hold the registers, whatever bus they are behind, and the addresses of the registers."""
