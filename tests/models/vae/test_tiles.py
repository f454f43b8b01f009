"""A decoder in tiles gives what it gives whole."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from medsynth.config.families.vae import Vae, VaeSampler
from medsynth.machine.memory import SHARE, peak_bytes
from medsynth.models.contract import Batch, ImageSpec, build
from medsynth.models.vae import tiles
from tests.models.families.test_diffusion import spec

RANGE = 2.0  # of intensities


def model_of(size: tuple[int, ...], **changes):
    """With random weights: an untrained decoder is linear, and has no seams."""
    torch.manual_seed(0)
    settings = {"channels": [16, 16], "latent_channels": 2, "prior_channels": 8} | changes
    of_size: ImageSpec = replace(spec(len(size)), size=size)
    model = build(Vae(family="vae", **settings), of_size)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
        model.decoder.average.mean.normal_()
    return model


def latent_and_condition(model, count: int = 2):
    rows = pd.DataFrame({"pathology": ["a", "b"][:count]})
    latent = torch.randn(count, 2, *model.settings.grid_of(model.spec.size))
    return latent, model.conditioning(model.spec.conditions.encode(rows))


@pytest.mark.parametrize(
    ("size", "side", "changes"),
    [
        ((32, 48, 32), 3, {}),
        ((32, 64, 32), 7, {"blocks": 2, "haar_levels": 1}),
        ((64, 96), 5, {}),
        ((32, 64), 4, {"channels": [8, 8, 8], "haar_levels": 0}),
    ],
)
def test_tiles_are_the_whole(size, side, changes):
    model = model_of(size, **changes)
    latent, condition = latent_and_condition(model)
    with torch.no_grad():
        whole = model.decoder(latent, condition)
        linear = model.decoder.average.add(model.decoder.patches.decode(model.decoder.synthesise(latent)))
        tiled = tiles.decode(model.decoder, latent, condition, side)
    assert (whole - linear).abs().mean() > 0.05  # there is something that could differ
    assert (tiled - whole).abs().max() < 1e-4 * RANGE


def test_each_tile_by_its_own_statistics_would_show():
    """What the shared statistics are for: tiles that are each decoded by themselves differ by more than 1 %."""
    model = model_of((32, 64, 32))
    latent, condition = latent_and_condition(model, 1)
    latent[:, :, :, 8:] = 4 * latent[:, :, :, 8:] + 4  # as half a body and half air
    decoder = model.decoder
    near, cut = slice(0, 8 + decoder.reach), slice(0, 4 * (8 + decoder.reach))
    with torch.no_grad():
        whole = decoder(latent, condition)[..., :32, :]
        x, told = decoder.begin(latent, condition.planes)[..., near, :], decoder.told(condition)
        planes = condition.planes[..., cut, :]
        alone = decoder.finish(x, latent[..., near, :], told, planes, (*[slice(None)] * 3, cut))[..., :32, :]
        shared = tiles.decode(decoder, latent, condition, 8)[..., :32, :]
    assert (alone - whole).abs().max() > 0.01 * RANGE > (shared - whole).abs().max()


def test_tiles_are_taken_where_the_whole_does_not_fit_and_need_less(monkeypatch, caplog):
    model = model_of((64, 64, 64))
    latent, condition = latent_and_condition(model)
    decoder = model.decoder
    with torch.no_grad():
        whole = decoder(latent, condition)
        needed, of_tiles = (
            peak_bytes(lambda work=work: work(latent, condition), 1e12)
            for work in (decoder, lambda *given: tiles.decode(decoder, *given, side=4))
        )
        assert of_tiles < 0.4 * needed
        monkeypatch.setattr(tiles, "free_on", lambda device: int(0.4 * needed / SHARE))  # too little for one image
        with caplog.at_level("INFO"):
            made = tiles.decode(decoder, latent, condition, "auto")
    assert "in smaller parts" in caplog.text
    assert (made - whole).abs().max() < 1e-4 * RANGE


def test_samples_do_not_depend_on_the_tiles():
    model = model_of((32, 32, 32))
    condition = model.spec.conditions.encode(pd.DataFrame({"pathology": ["a", "b"]}))
    made = [
        model.sample(Batch(condition), [1, 2], VaeSampler(decode_tiles=side, temperature=(0.5,)))
        for side in ("auto", 3)
    ]
    assert (made[0] - made[1]).abs().max() < 1e-4 * RANGE


def test_tiles_cover_a_grid_once():
    covered = torch.zeros(5, 7, 4)
    for tile in tiles.tiles_of((5, 7, 4), 3, 2):
        covered[tile.core] += 1
        inner = torch.zeros(5, 7, 4)[tile.around][tile.inner(1)]
        assert inner.shape == covered[tile.core].shape
    assert (covered == 1).all()
