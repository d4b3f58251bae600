"""A whole fill under the loop and under controllers of others."""
