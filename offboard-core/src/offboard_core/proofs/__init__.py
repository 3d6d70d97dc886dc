"""Whether a model that was made faster answers as the model that it was made of, and what is served where it does not.

A loader makes a :class:`FastCall` of the function that takes the time, has :func:`prove` ask the policy with and
without it, and puts what came of that into the policy's ``meta`` as ``compiled``. This knows no model library.
"""

from __future__ import annotations

from .fast_call import FastCall
from .options import CompileOptions
from .proof import Proof, prove
from .trials import Trial, make_trials

__all__ = ["CompileOptions", "FastCall", "Proof", "Trial", "make_trials", "prove"]
