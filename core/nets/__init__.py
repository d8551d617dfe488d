"""Network architectures."""

from .unet3d import Norm, UNet3D, convolution_block, parameter_count

__all__ = ["Norm", "UNet3D", "convolution_block", "parameter_count"]
