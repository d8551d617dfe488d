"""Simulated half-maps of random objects, seen from random views: what networks are pre-trained on."""

from .scene import REACH, Scene, draw_scene
from .shapes import random_object
from .views import random_sampling

__all__ = ["REACH", "Scene", "draw_scene", "random_object", "random_sampling"]
