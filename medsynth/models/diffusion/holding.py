"""An image that is held outside of a region while the cascade draws the region anew.

At every noise level the clean image that a stage expects has the held image in place of its own outside of the region
(as in DDNM; Wang, Yu & Zhang 2023). Along the ODE the noisy image there is k + sigma n at every level sigma, for the
held image k and the sample's own noise n, so that the network sees what is held as in training. RePaint (Lugmayr et
al. 2022, Eq. 8) and Blended Diffusion (Avrahami et al. 2022, Algorithm 2) put k with new noise into the noisy image at
every step.

A stage draws every pixel of its resolution that the region touches. By the region's mean instead, a part of such a
pixel is held, and lesions fade in the coarse stages, whose averages no later stage changes. Where the region is
between 0 and 1, the two are mixed in the pixels of the whole image at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medsynth.models.diffusion.solvers import Denoise
from medsynth.models.wavelets import Pyramid


class Holding:
    """What each stage holds.

    Attributes:
        bands: for each stage the held image's sub-bands.
        averages: for each stage the held image at its resolution (N, C, *spatial), as the pyramid gives it.
        touched: for each stage (N, 1, *spatial), 1 where it draws anew and 0 elsewhere.
    """

    def __init__(self, pyramid: Pyramid, stages: nn.ModuleList, image: Tensor, region: Tensor) -> None:
        """Split a held image into what each stage holds.

        Args:
            image: (N, C, *spatial) in [-1, 1]; region: (N, *spatial) in [0, 1].
        """
        self.pyramid, self.stages = pyramid, stages
        self.image, self.region = image, region[:, None]
        levels = pyramid.encode(image)
        self.bands = [bands for bands, _ in levels]
        self.averages = [pyramid.decode(*level) for level in levels]
        self.touched = [touched(self.region, 2**doublings) for doublings in reversed(range(len(levels)))]

    def blend(self, index: int, average: Tensor) -> Tensor:
        """What a stage drew (N, C, *spatial), with the held image outside of the region."""
        return mixed(self.touched[index], average, self.averages[index])

    def finish(self, image: Tensor) -> Tensor:
        """The whole image (N, C, *spatial), with the held one outside of the region: the same to the bit."""
        return mixed(self.region, image, self.image)

    def expected(self, index: int, latent: Tensor) -> Tensor:
        """The clean sub-bands (N, B, *spatial) that a stage expects, the held image's outside of the region.

        They are mixed in pixels: a sub-band of the codec may cover many of them.
        """
        stage = self.stages[index]
        with torch.autocast(latent.device.type, enabled=False):  # bfloat16 would round what is held
            level = torch.zeros_like(self.averages[index - 1]) if index else None
            missing = self.pyramid.decode(self.bands[index] - stage.to_bands(latent), level)
            return latent + self.pyramid.bands_of(index, (1 - self.touched[index]) * missing) / stage.band_scale

    def start(self, index: int, noise: Tensor) -> Tensor:
        """Noise at the highest level (N, B, *spatial), with the held image under it outside of the region."""
        return noise + self.expected(index, torch.zeros_like(noise))

    def denoiser(self, index: int, denoise: Denoise) -> Denoise:
        """A stage's denoiser, as the solvers take it, that expects the held image outside of the region."""
        return lambda x, sigma: self.expected(index, denoise(x, sigma))


def mixed(region: Tensor, drawn: Tensor, held: Tensor) -> Tensor:
    """Exactly `drawn` where the region is 1, exactly `held` where it is 0."""
    return region * drawn + (1 - region) * held


def touched(region: Tensor, factor: int) -> Tensor:
    """1 for each block of `factor` pixels a side in which the region is anywhere above 0, else 0.

    Args:
        region: (N, 1, *spatial).
    Returns:
        (N, 1, *spatial / factor)
    """
    for axis in range(2, region.ndim):
        region = region.unflatten(axis, (-1, factor)).amax(axis + 1)
    return (region > 0).to(region.dtype)
