"""Colours to grey."""

import numpy as np

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of red, green and blue


def grey_of(image: np.ndarray) -> np.ndarray:
    """Luma (H, W) of an RGB image (H, W, 3), rounded for whole numbers as OpenCV does."""
    import cv2

    if image.dtype == np.float64:  # which OpenCV's conversion refuses
        return image @ np.array(LUMA)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
