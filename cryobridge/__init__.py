"""cryobridge: a resident bridge between cryo-EM refinement programs and deep learning.

Kept light on purpose: the RELION hook imports this package once per call.
"""

__version__ = "0.1.0"
