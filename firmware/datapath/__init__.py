"""The executions of a model, which must agree on every word, and what is made of them."""
