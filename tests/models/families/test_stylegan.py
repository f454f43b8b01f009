"""Known answers of a style-based GAN: modulation, penalties, growing, truncation, its score, its augmentation."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from medsynth.config.families.stylegan import Stylegan, StyleganSampler
from medsynth.errors import InputError
from medsynth.models.contract import Batch, build
from medsynth.models.stylegan.augmentation import augmented_pairs
from medsynth.models.stylegan.discriminator import deviation
from medsynth.models.stylegan.energy import described, energy_distance
from medsynth.models.stylegan.layers import EqualisedLinear, ModulatedConv, averaged_down, upsample
from medsynth.sample.sample import TOLERANCE
from tests.models.families.test_diffusion import spec


def small(**changes) -> Stylegan:
    return Stylegan(family="stylegan", **{"channels": [8, 8, 8], "latent_dim": 8} | changes)


def model_of(dims: int = 2, size: int = 32, channels: int = 1, **changes):
    torch.manual_seed(0)
    model = build(small(**changes), replace(spec(dims, size), channels=channels))
    model.begin([], {})
    return model


def batch_of(model, count: int = 4, progress: float = 0.0) -> Batch:
    rows = pd.DataFrame({"pathology": ["a", "b"] * (count // 2)})
    images = torch.rand(count, model.spec.channels, *model.spec.size) * 2 - 1
    return Batch(model.spec.conditions.encode(rows), images, progress=progress)


@pytest.mark.parametrize("planes", [0, 2])
def test_modulating_inputs_and_outputs_is_modulating_the_weights_of_each_image(planes):
    torch.manual_seed(0)
    layer = ModulatedConv(2, 3, 5, 3, 4, planes)
    x, style, drawn = torch.randn(2, 3, 6, 6), torch.randn(2, 4), torch.randn(2, planes, 6, 6)
    found = layer(x, style, drawn if planes else None)
    scales = torch.cat([layer.to_scale(style), torch.ones(2, planes)], 1)
    for image, plane, scale, own in zip(x, drawn, scales, found, strict=True):
        weight = layer.conv.weight * layer.conv.gain * scale[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()  # Karras et al. 2020, Eq. 3
        torch.testing.assert_close(F.conv2d(torch.cat([image, plane])[None], weight, padding=1)[0], own)


def test_a_layer_has_the_same_outputs_at_any_share_of_the_learning_rate():
    torch.manual_seed(0)
    whole = EqualisedLinear(64, 512, bias=1.0)
    part = EqualisedLinear(64, 512, bias=1.0, rate=0.1)
    x = torch.randn(256, 64)
    for layer in (whole, part):
        found = layer(x).detach()
        assert found.mean() == pytest.approx(1, abs=0.05) and found.std() == pytest.approx(1, abs=0.05)
    (of_whole,), (of_part,) = (torch.autograd.grad(layer(x).sum(), [layer.bias]) for layer in (whole, part))
    torch.testing.assert_close(of_part, 0.1 * of_whole)


def test_resolutions_come_in_turn_and_fade_in():
    model = model_of(progressive_growing=0.5)
    assert [model.reach(progress) for progress in (0, 0.125, 0.1875, 0.25, 0.5, 1)] == [0, 0, 0.5, 1, 2, 2]
    assert model_of().reach(0) == 2
    conditioning = model.conditioning(batch_of(model).condition)
    sides = {reach: model.draw(conditioning, reach).shape[2] for reach in (0.0, 0.5, 1.0, 1.5, 2.0)}
    assert sides == {0.0: 8, 0.5: 16, 1.0: 16, 1.5: 32, 2.0: 32}
    image = batch_of(model).image
    torch.testing.assert_close(model.real(image, 2.0), image)
    torch.testing.assert_close(model.real(image, 1.0), averaged_down(image, 1))
    smooth = upsample(averaged_down(image, 1))
    torch.testing.assert_close(model.real(image, 1.25), smooth + 0.25 * (image - smooth))


def test_a_resolution_that_has_not_faded_in_changes_nothing():
    model = model_of(progressive_growing=0.5)
    conditioning = model.conditioning(batch_of(model).condition)
    torch.manual_seed(1)
    before = model.draw(conditioning, 1.0)
    torch.manual_seed(1)
    torch.testing.assert_close(model.draw(conditioning, 1 + 1e-6), upsample(before), atol=1e-4, rtol=0)
    coarse, fine = (replace(conditioning, planes=torch.zeros(4, 0, side, side)) for side in (16, 32))
    score = model.discriminator([before], coarse, 1.0)
    above = model.discriminator([F.interpolate(before, scale_factor=2)], fine, 1 + 1e-6)
    torch.testing.assert_close(above, score, atol=1e-4, rtol=0)


class Linear(torch.nn.Module):
    """A discriminator that adds up the pixels: of pairs, those of real images 3 times."""

    def forward(self, sets, conditioning, reach):
        slopes = (3, 1)[-len(sets) :]
        return torch.stack([slope * image.flatten(1).sum(1) for slope, image in zip(slopes, sets, strict=True)])


def test_losses_and_penalties_of_a_linear_discriminator_are_known(monkeypatch):
    model = model_of(discriminator_augmentation=0, gamma=[3, 1], penalty_share=0.5, condition_dropout=0)
    model.discriminator = Linear()
    batch = batch_of(model)
    drawn = torch.rand(4, 1, 32, 32) / 32
    monkeypatch.setattr(model, "draw", lambda *args: drawn)
    of_real, of_drawn = batch.image.flatten(1).sum(1), drawn.flatten(1).sum(1)
    found = model.loss(batch, "discriminator")["discriminator"]
    torch.testing.assert_close(found, F.softplus(of_drawn - 3 * of_real))
    for progress, gamma in ((0, 3), (0.5, 2), (1, 1)):
        penalty = model.loss(replace(batch, progress=progress), "discriminator")["penalty"]
        # Of 1,024 pixels, the gradient is 3 at each of a real image and 1 of a drawn one; half of the batch is for all.
        assert penalty.tolist() == pytest.approx([2 * gamma / 2 * (9 + 1) * 1024] * 2 + [0, 0])
    told_apart = model.loss(batch, "discriminator")["told_apart"]
    assert torch.equal(told_apart, (3 * of_real - of_drawn).sign())
    found = model.loss(batch, "generator")["generator"]  # which shows it either set alone
    torch.testing.assert_close(found, F.softplus(of_real - of_drawn))


def test_as_many_images_have_two_styles_as_is_asked_for(monkeypatch):
    model = model_of()
    conditioning = model.conditioning(batch_of(model, 400).condition)
    seen = []
    monkeypatch.setattr(model.synthesis, "forward", lambda styles, *rest: seen.append(styles))
    model.draw(conditioning, 2.0, 0.5)
    (styles,) = seen
    second = (styles != styles[:, :1]).any(2)
    assert not second[:, 0].any() and second[:, 2].float().mean() == pytest.approx(0.5, abs=0.08)
    assert second[:, 1].float().mean() == pytest.approx(0.25, abs=0.08)


def test_colour_images_are_drawn_and_judged():
    model = model_of(channels=3)
    batch = batch_of(model)
    assert model.sample(batch, range(4), StyleganSampler()).shape == (4, 3, 32, 32)
    for phase in model.phases:
        assert model.loss(batch, phase.name)[phase.name].shape == (4,)


def test_adaptive_augmentation_rises_while_pairs_are_told_apart_and_falls_otherwise():
    model = model_of(discriminator_augmentation="adaptive")
    assert float(model.probability) == 0
    for _ in range(3):
        model.heed({"told_apart": torch.tensor(1.0)}, spent=0.01)  # all pairs; a tenth of the budget goes to 1
    assert float(model.probability) == pytest.approx(0.3)
    model.heed({}, spent=0.01)  # a step without a discriminator
    model.heed({"told_apart": torch.tensor(0.5)}, spent=0.01)
    assert float(model.probability) == pytest.approx(0.2)
    model.heed({"told_apart": torch.tensor(1.0)}, spent=0.001)  # a fifth of what is averaged: 0.6 on average
    assert float(model.told_apart) == pytest.approx(0.6) and float(model.probability) == pytest.approx(0.19)
    for told, end in ((1.0, 0.8), (-1.0, 0.0)):
        model.heed({"told_apart": torch.tensor(told)}, spent=0.5)
        assert float(model.probability) == pytest.approx(end)
    fixed = model_of()
    fixed.heed({"told_apart": torch.tensor(1.0)}, spent=0.1)
    assert float(fixed.probability) == pytest.approx(0.3)


def test_the_adapted_probability_decides_how_many_pairs_are_augmented():
    model = model_of(discriminator_augmentation="adaptive")
    model.probability.fill_(0.25)
    assert model.loss(batch_of(model), "discriminator")["augmentation"].tolist() == [0.25] * 4
    images = torch.rand(2000, 1, 4, 4)
    ((changed,), _) = augmented_pairs([images], torch.zeros(2000, 0, 4, 4), model.probability)
    assert (changed != images).flatten(1).any(1).float().mean() == pytest.approx(0.25, abs=0.03)


def noisy_model(**changes):
    """One whose pixels have noise of their own."""
    model = model_of(**changes).eval()
    with torch.no_grad():
        for level in model.synthesis.levels:
            for layer in (level.enlarge, level.refine):
                if layer is not None:
                    layer.strength.fill_(0.2)
    return model


def test_a_walk_leads_smoothly_from_one_sample_to_another():
    model, settings = noisy_model(), StyleganSampler(truncation=0.7)
    batch, seeds = batch_of(model, 2), [3, 2**40]
    ends = model.sample(batch, seeds, settings)
    way = model.walk(batch, seeds, 33, settings)
    assert way.shape == (33, 1, 32, 32)
    torch.testing.assert_close(way[[0, -1]], ends, atol=1e-5, rtol=0)
    whole, steps = (ends[0] - ends[1]).norm(), (way[1:] - way[:-1]).flatten(1).norm(dim=1)
    assert steps.min() > 0 and steps.max() < 4 * whole / 32
    torch.testing.assert_close(model.walk(batch, seeds, 2, settings), ends, atol=1e-5, rtol=0)


def test_noise_keeps_its_variance_on_the_way(monkeypatch):
    model = noisy_model()
    seen = []
    monkeypatch.setattr(model.synthesis, "forward", lambda s, noises, *rest: seen.append(noises) or torch.zeros(1))
    model.walk(batch_of(model, 2), [0, 1], 3, StyleganSampler())
    assert seen[0][-1][1].std() == pytest.approx(1, abs=0.1)  # a linear mean of the two would have 0.7


def test_mixing_takes_coarse_styles_of_one_sample_and_fine_ones_of_the_other():
    model, settings = noisy_model(), StyleganSampler()
    batch, seeds = batch_of(model, 2), [3, 4]
    first, second = model.sample(batch, seeds, settings)
    mixed = model.mix(batch, seeds, settings)
    assert mixed.shape == (4, 1, 32, 32)
    torch.testing.assert_close(mixed[-1], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[0], second, atol=1e-5, rtol=0)
    to_first = (mixed - first).flatten(1).norm(dim=1)
    assert to_first[0] > to_first[2] > to_first[3]


def test_a_walk_is_refused_without_two_ends():
    model = model_of()
    with pytest.raises(InputError, match="got 4 conditions and 2 seeds, expected 2 of each"):
        model.walk(batch_of(model), [0, 1], 3, StyleganSampler())
    with pytest.raises(InputError, match="got 2 conditions and 3 seeds, expected 2 of each"):
        model.mix(batch_of(model, 2), [0, 1, 2], StyleganSampler())
    with pytest.raises(InputError, match="steps: got 1, expected at least 2, the samples themselves"):
        model.walk(batch_of(model, 2), [0, 1], 1, StyleganSampler())


def test_the_generator_step_leaves_the_discriminator_without_gradients():
    model = model_of()
    model.loss(batch_of(model), "generator")["generator"].sum().backward()
    assert all(parameter.grad is None for parameter in model.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in model.discriminator.parameters())
    model.loss(batch_of(model), "discriminator")["discriminator"].sum().backward()
    assert any(parameter.grad is not None for parameter in model.discriminator.parameters())


def test_truncation_draws_styles_to_the_mean_of_what_is_asked_for():
    model = model_of().eval()
    batch = batch_of(model, 8)
    with torch.no_grad():
        for level in model.synthesis.levels:
            for layer in (level.enlarge, level.refine):
                assert layer is None or not layer.strength  # no noise but that of the style
        free, near = (model.sample(batch, range(8), StyleganSampler(truncation=value)) for value in (1.0, 1e-4))
    assert (near[0] - near[2]).abs().max() < 1e-2 < (free[0] - free[2]).abs().max()  # both asked for the same
    assert (near[0] - near[1]).abs().max() > 1e-2
    alone = model.sample(batch[torch.tensor([3])], [3], StyleganSampler(truncation=1e-4))
    torch.testing.assert_close(alone[0], near[3], atol=1e-4, rtol=0)


def test_bfloat16_draws_nearly_the_same():
    model = model_of().eval()
    batch = batch_of(model)
    whole, half = (model.sample(batch, range(4), StyleganSampler(truncation=0.7, precision=name)) for name in TOLERANCE)
    assert 0 < (whole - half).abs().max() < TOLERANCE["bfloat16"]


def test_the_score_waits_for_the_finest_resolution():
    model = model_of(progressive_growing=0.5)
    assert model.score(batch_of(model, progress=0.4)) is None
    assert model.score(batch_of(model, progress=0.5)).shape == (4,)


def test_the_energy_distance_is_nothing_for_one_distribution_and_tells_a_collapse():
    torch.manual_seed(0)
    real, same = torch.rand(2, 200, 1, 8, 8)
    condition, planes = model_of().spec.conditions.nothing(200), torch.zeros(200, 0, 8, 8)
    others = (same, same[:1].expand(200, -1, -1, -1), 0.2 * same + 0.4)
    distances = [float(energy_distance(*described(real, other, 2, condition, planes)).mean()) for other in others]
    assert abs(distances[0]) < 0.02
    assert min(distances[1:]) > 0.2


def test_a_generator_that_ignores_its_condition_scores_worse(monkeypatch):
    model = model_of()
    batch = batch_of(model, 200)  # of two classes in turn

    def images(rows):
        return 0.5 * (2 * (rows % 2) - 1)[:, None, None, None] + 0.1 * torch.randn(200, 1, 32, 32)

    batch = replace(batch, image=images(torch.arange(200)))
    scores = {}
    for name, rows in {"obeys": torch.arange(200), "ignores": torch.randperm(200)}.items():
        monkeypatch.setattr(model, "draw", lambda *args, rows=rows: images(rows))
        scores[name] = float(model.score(batch).mean())
    assert abs(scores["obeys"]) < 0.02 and scores["ignores"] > 0.1


def test_what_is_drawn_of_a_condition_counts_in_the_score():
    torch.manual_seed(0)
    marked = torch.arange(200) % 2 == 0
    planes = torch.zeros(200, 1, 8, 8)
    planes[marked, :, 2:6, 2:6] = 1
    nothing = model_of().spec.conditions.nothing(200)
    real, obeys = (planes + 0.1 * torch.randn(200, 1, 8, 8) for _ in range(2))
    near, far = (
        float(energy_distance(*described(real, drawn, 2, nothing, planes)).mean())
        for drawn in (obeys, obeys[torch.randperm(200)])
    )
    assert abs(near) < 0.02 and far > 0.1


def test_augmentation_changes_all_images_of_a_position_alike_and_moves_planes_with_them():
    torch.manual_seed(0)
    images, planes = torch.rand(64, 1, 16, 16), torch.zeros(64, 1, 16, 16)
    planes[:, :, 8, 8] = 1
    (one, other), moved = augmented_pairs([images, images.clone()], planes, 0.0)
    assert torch.equal(one, images) and torch.equal(other, images) and torch.equal(moved, planes)
    (one, other), moved = augmented_pairs([images, images.clone()], planes, 1.0)
    assert torch.equal(one, other) and not torch.equal(one, images)
    rows, columns = (moved[:, 0].sum(axis).argmax(1) - 8 for axis in (2, 1))
    assert rows.abs().max() == 2 == columns.abs().max()  # an eighth of the image
    row, column, image, changed = rows[5], columns[5], images[5, 0], one[5, 0]
    back = changed.roll((-int(row), -int(column)), (0, 1))[2:-2, 2:-2]
    there = back != 0  # what was cut out, and zero
    change = torch.stack([image[2:-2, 2:-2][there], back[there]])
    assert torch.corrcoef(change)[0, 1] > 0.9999  # brightness and contrast are linear


def test_the_deviation_of_a_group_is_of_its_images_alone():
    x = torch.stack([torch.full((2, 3, 3), value) for value in (0.0, 0.0, 1.0, 5.0)])
    same = deviation(x[[0, 1]])
    assert same.shape == (2, 1, 3, 3) and same.max() < 1e-3
    torch.testing.assert_close(deviation(x[[2, 3]]), torch.full((2, 1, 3, 3), 2.0))
    of_all = float(torch.tensor([0.0, 0.0, 1.0, 5.0]).std(correction=0))
    torch.testing.assert_close(deviation(x), torch.full((4, 1, 3, 3), of_all))


def test_augmentation_of_volumes_moves_their_planes():
    torch.manual_seed(0)
    planes = torch.zeros(64, 1, 16, 16, 16)
    planes[:, :, 8, 8, 8] = 1
    (image,), moved = augmented_pairs([planes.clone()], planes, 1.0)
    assert moved.sum() == 64  # none leaves the volume, and what is drawn is not cut
    assert len({tuple(place[1:].tolist()) for place in moved.nonzero()}) > 32
    brightest = image.flatten(1).argmax(1) == moved.flatten(1).argmax(1)
    assert brightest.float().mean() > 0.6  # but where it is cut out


@pytest.mark.parametrize("side", [12, 16, 256])
def test_a_size_that_does_not_fit_is_refused(side):
    expected = rf"size \[{side}, {side}\] over 8, for 3 resolutions in channels, expected whole numbers from 4 to 16"
    with pytest.raises(InputError, match=expected):
        build(small(), spec(2, side))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": [8], "progressive_growing": 0.5}, "there is one resolution in channels, expected at least 2"),
        ({"training": {"gradient_checkpointing": True}}, "a stylegan model has none, take a smaller batch_size"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        small(**changes)
