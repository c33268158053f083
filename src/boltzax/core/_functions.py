"""Functions that `jax.jit` or `jax.custom_jvp` has wrapped, pickled and copied by their name.

By default such an object (`jnp.tanh`, `jax.nn.relu`, a decorated function of a module) cannot be
pickled: pickle looks up the function that it wraps, and finds another object. A copy of it is a new
object, so that a copied model is traced again. Importing this module makes `pickle` and `copy`
store the name, as they do for plain functions. Objects without an importable name are stored as
before.
"""

import copyreg
import sys

import jax
import jax.numpy as jnp

PLACES = ("jax.numpy", "jax.nn", "jax.lax", "jax.scipy.special")
"""Modules in which a function is looked up before its own module, which in jax is often private."""


def _stored(function):
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    own = getattr(function, "__module__", None)
    for place in (*PLACES, own):
        # `__main__` is another module in another process: the function itself must travel
        module = sys.modules.get(place or "") if place != "__main__" else None
        if module is not None and getattr(module, name or "", None) is function:
            return _load, (place, name)
    return object.__reduce_ex__(function, 4)


def _load(module: str, name: str):
    __import__(module)
    return getattr(sys.modules[module], name)


for _kind in (type(jnp.tanh), type(jax.nn.relu), type(jnp.add)):
    copyreg.pickle(_kind, _stored)
