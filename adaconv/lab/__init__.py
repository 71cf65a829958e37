"""A laboratory for GANs in the plane: models learn the same points, and are filmed as they do."""

from adaconv.lab.animation import save_animation
from adaconv.lab.page import save_page
from adaconv.lab.recording import Camera, Frame, Recording, check_length, record

__all__ = ["Camera", "Frame", "Recording", "check_length", "record", "save_animation", "save_page"]
