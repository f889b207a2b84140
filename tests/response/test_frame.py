import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

from hifred.response.frame import Frame


@pytest.mark.parametrize("half", [(2, 3), (9, 3), (30, 40)])
def test_a_kernel_of_any_reach_is_the_direct_convolution(half):
    rng = np.random.default_rng(0)
    image, kernel = jnp.asarray(rng.random((10, 12))), rng.random((2 * half[0] + 1, 2 * half[1] + 1))
    frame = Frame((10, 12), half, reflect=False)
    found = frame.image(frame.spectrum(image) * frame.transfer(kernel))
    padded = np.pad(image, [(h, h) for h in half])
    np.testing.assert_allclose(found, convolve2d(padded, kernel, "valid"), rtol=1e-4)


def test_arrays_are_no_larger_than_needed():
    assert Frame((60, 60), (10, 59), reflect=False).size == (72, 120)
    assert Frame((60, 60), (10, 500), reflect=False).size == (72, 120), "what reaches across the image does not count"
    assert Frame((60, 60), (10, 59), reflect=True).size == (80, 180)
