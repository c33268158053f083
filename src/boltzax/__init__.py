"""boltzax: statistical mechanics of learning machines, in JAX."""
