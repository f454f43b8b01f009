"""The patch discriminator: how real each part of an image looks beside what the image was asked for."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsynth.config.families.vaegan import Vaegan
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import ImageSpec
from medsynth.models.networks.blocks import CONV as CONV_LAYER
from medsynth.models.stylegan.layers import averaged_down
from medsynth.models.vae.blocks import EMBEDDING, Told
from medsynth.models.wavelets import CONV, Codec

SLOPE = 0.2


def hinge_discriminator(real: Tensor, made: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), of (N, 1, *patches) each, the mean over patches (N,).

    Source: Lim & Ye 2017; Miyato et al. 2018, Eq. 16. Scores are as the network gives them: behind a tanh, as in
    MONAI's PatchAdversarialLoss, none would reach the hinge, and no image would ever count as told apart.
    """
    return (F.relu(1 - real) + F.relu(1 + made)).flatten(1).mean(1)


def hinge_generator(made: Tensor) -> Tensor:
    """-D(G(z)), of (N, 1, *patches), the mean over patches (N,) (Miyato et al. 2018, Eq. 17)."""
    return -made.flatten(1).mean(1)


class SpectralConv(nn.Module):
    """A convolution whose weights, as a matrix of outputs by inputs, have the largest singular value 1.

    Miyato et al. 2018, Eq. 8, without their power iteration: the matrix is small, and its singular value is exact, so
    that nothing has to be kept between steps, and processes that see other images agree.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        conv = CONV_LAYER[spatial_dims](inputs, outputs, kernel)
        self.weight, self.bias = nn.Parameter(conv.weight.detach().clone()), nn.Parameter(torch.zeros(outputs))
        self.spatial_dims, self.stride, self.padding = spatial_dims, stride, (kernel - 1) // 2

    def normalised(self) -> Tensor:
        """The weights over their largest singular value."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.float().flatten(1)
            gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
            return self.weight / torch.linalg.eigvalsh(gram)[-1].clamp(min=1e-12).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, *spatial) → (N, outputs, *spatial / stride)."""
        return CONV[self.spatial_dims](x, self.normalised(), self.bias, stride=self.stride, padding=self.padding)


class PatchDiscriminator(nn.Module):
    """Haar bands of an image beside what is drawn of the condition → a score for each patch (Isola et al. 2017).

    The scalars of the condition act by their inner product with the features of each patch (Miyato & Koyama 2018).
    """

    def __init__(self, settings: Vaegan, spec: ImageSpec) -> None:
        super().__init__()
        dims, channels = spec.spatial_dims, settings.discriminator_channels
        self.halvings = settings.haar_levels
        self.haar = Codec("haar", settings.haar_levels, spec.channels, dims)
        inputs = self.haar.channels + spec.conditions.map_channels
        self.halve = nn.ModuleList(
            SpectralConv(dims, before, own, 4, stride=2) for before, own in pairwise((inputs, *channels))
        )
        self.refine = SpectralConv(dims, channels[-1], channels[-1], 3)
        self.score = SpectralConv(dims, channels[-1], 1, 1)
        self.told = Told(spec)
        self.project = nn.Linear(EMBEDDING, channels[-1])
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor, conditioning: Conditioning) -> Tensor:
        """(N, C, *spatial) and their conditions, with planes at the same resolution → (N, 1, *patches)."""
        planes = averaged_down(conditioning.planes, self.halvings)
        x = torch.cat([self.haar.encode(image), planes], 1)
        for layer in self.halve:
            x = F.leaky_relu(layer(x), SLOPE)
        x = F.leaky_relu(self.refine(x), SLOPE)
        known = F.normalize(self.project(self.told(conditioning)), dim=1)
        alike = (x * known.view(*known.shape, *[1] * (x.ndim - 2))).sum(1, keepdim=True)
        return (self.gain * (self.score(x) + alike)).float()
