"""`parents: {initial: ...}`: a model that begins with the weights of another one."""

import pytest
import torch

from medsynth.config import TrainSettings
from medsynth.errors import InputError
from medsynth.models.checkpoint import load_model
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer
from tests.contracts.examples import CPU, settings_of, toy_store


@pytest.fixture(scope="module")
def parent(trained):
    return trained("diffusion", "categorical", 2)


def child(**changes) -> TrainSettings:
    return settings_of("diffusion", parents={"initial": "diffusion"}, **changes)


def begin(settings, store, parent, role="initial") -> tuple[Trainer, set[str], dict[str, torch.Tensor]]:
    """The child, the names of its parameters that alone it would begin with otherwise, and the parent's tensors."""
    alone = TrainSettings(seed=settings.seed, model=settings.model.model_copy(update={"parents": {}}))
    before = Trainer(alone, store, CPU).model
    trainer = Trainer(settings, store, CPU, parents={role: parent.weights})
    for (name, own), (_, buffer) in zip(before.named_buffers(), trainer.model.named_buffers(), strict=True):
        assert torch.equal(own, buffer), name  # they describe the child's data
    known = dict(before.named_parameters())
    changed = {name for name, tensor in trainer.model.named_parameters() if not torch.equal(tensor, known[name])}
    return trainer, changed, load_model(parent.weights, CPU)[0].state_dict()


@pytest.fixture
def messages(caplog):
    caplog.set_level("INFO", logger="medsynth.models.inheritance")
    return caplog


def test_a_model_of_the_same_stages_takes_every_parameter(parent, messages):
    store = toy_store("categorical", 2)
    store.images[:] = store.images // 2  # another dataset: other statistics
    trainer, _, known = begin(child(), store, parent)
    parameters = dict(trainer.model.named_parameters())
    assert all(torch.equal(tensor, known[name]) for name, tensor in parameters.items())
    assert not torch.equal(trainer.model.stages[1].coarse_mean, known["stages.1.coarse_mean"])
    assert f"initial: began with {len(parameters)} of {len(parameters)} tensors; new are none" in messages.text


@pytest.mark.parametrize("kind", ["number", "mask"])
def test_what_other_conditions_need_is_new_and_the_log_names_it(parent, messages, kind):
    trainer, _, known = begin(child(), toy_store(kind, 2), parent)
    taken = set()
    for name, own in trainer.model.named_parameters():
        if (of_parent := known.get(name)) is None:
            continue
        if name.endswith("unet.enter.weight"):  # the first inputs are those of both; a mask's are further ones
            shared = of_parent.shape[1]
            assert torch.equal(own[:, :shared], of_parent) and not own[:, shared:].any()
            assert (own.shape[1] > shared) == (kind == "mask")
            taken.add(name)
        elif torch.equal(own, of_parent):
            taken.add(name)
    new = {name for name, _ in trainer.model.named_parameters()} - taken
    assert taken and new and all("condition." in name for name in new), new
    total = len(taken) + len(new)
    assert f"initial: began with {len(taken)} of {total} tensors; new are " in messages.text
    assert sum(name in messages.text for name in new) == min(len(new), 8)


def test_stages_of_another_size_are_matched_by_resolution(parent):
    """The parent's two stages are of 4 pixels a side, the child's three of 4, 4 and 8."""
    stages = [{"channels": [8]}] * 3
    trainer, changed, known = begin(child(stages=stages), toy_store("categorical", 2, side=16), parent)
    for name, tensor in trainer.model.named_parameters():
        if name.startswith("stages.2."):
            assert name not in changed
        else:
            assert torch.equal(tensor, known[name]), name


def test_details_leave_out_the_first_stage(parent, messages):
    details = settings_of("diffusion", parents={"details": "diffusion"})
    trainer, changed, known = begin(details, toy_store("categorical", 2), parent, "details")
    for name, tensor in trainer.model.named_parameters():
        if name.startswith("stages.0."):
            assert name not in changed
        else:
            assert torch.equal(tensor, known[name]), name
    assert "details: began with" in messages.text


def test_a_model_with_nothing_in_common_is_refused(parent):
    with pytest.raises(InputError, match=r"initial: none of \d+ tensors is in both models, nothing to begin from"):
        begin(child(stages=[{"channels": [8]}]), toy_store("categorical", 2, side=24), parent)


def test_a_parent_of_other_axes_is_refused(parent):
    with pytest.raises(InputError, match="makes images of 2 axes, expected 3"):
        Trainer(child(), toy_store("categorical", 3), CPU, parents={"initial": parent.weights})


def test_a_grey_parent_gives_a_colour_model_its_brightness(parent):
    """Bands, then the coarser image: brightness comes first in both; what opponent colours need begins at zero."""
    codec = child().model.codec.model_dump() | {"colour": "opponents"}
    trainer, changed, known = begin(child(codec=codec), toy_store("categorical", 2, channels=3), parent)
    own = dict(trainer.model.named_parameters())
    assert changed
    for stage, bands in ((0, 1), (1, 3)):
        enter, leave, bias = (
            f"stages.{stage}.unet.{part}" for part in ("enter.weight", "leave.2.weight", "leave.2.bias")
        )
        brightness = [*range(bands), *([3 * bands] if stage else [])]
        others = [n for n in range(own[enter].shape[1]) if n not in brightness]
        assert torch.equal(own[enter][:, brightness], known[enter]) and not own[enter][:, others].any()
        for name in (leave, bias):
            assert torch.equal(own[name][:bands], known[name]) and not own[name][bands:].any()
    trunk = [name for name in own if "encoder" in name or "decoder" in name]
    assert trunk and all(torch.equal(own[name], known[name]) for name in trunk)


def test_red_green_and_blue_take_from_a_grey_parent_what_touches_no_channel(parent):
    trainer, changed, known = begin(child(), toy_store("categorical", 2, channels=3), parent)
    touching = [name for name in known if name.endswith(("unet.enter.weight", "leave.2.weight", "leave.2.bias"))]
    assert touching and not changed & set(touching)
    own = dict(trainer.model.named_parameters())
    trunk = [name for name in own if "encoder" in name or "decoder" in name]
    assert trunk and all(torch.equal(own[name], known[name]) for name in trunk)


def test_a_role_that_the_family_does_not_take_is_refused(parent):
    with pytest.raises(InputError, match="parents: a diffusion model has no teacher, expected initial, details"):
        Trainer(settings_of("diffusion"), parent.store, CPU, parents={"teacher": parent.weights})


def test_the_model_names_its_parent_and_counts_its_images(parent, tmp_path):
    training = {"images": 16, "effective_batch_size": 8}
    train(child(training=training), toy_store("number", 2), tmp_path, {"initial": parent.weights})
    _, info = load_model(tmp_path / "model.safetensors", CPU)
    _, of_parent = load_model(parent.weights, CPU)
    assert info.parents.keys() == {"initial"}
    named = info.parents["initial"]
    assert (named.weights_sha256, named.store_sha256) == (of_parent.weights_sha256, of_parent.store.digest)
    assert named.images_seen == of_parent.images_seen and info.images_seen == 16 + of_parent.images_seen


@pytest.fixture(scope="module")
def style_parent(trained):
    """Of two resolutions, 4 and 8 pixels a side."""
    return trained("stylegan", "categorical", 2)


def style_child(**changes) -> TrainSettings:
    return settings_of("stylegan", parents={"initial": "stylegan"}, **changes)


def test_a_stylegan_takes_generator_and_discriminator(style_parent, messages):
    trainer, _, known = begin(style_child(), toy_store("categorical", 2, side=16), style_parent)
    parameters = dict(trainer.model.named_parameters())
    assert all(torch.equal(tensor, known[name]) for name, tensor in parameters.items())
    assert any(name.startswith("discriminator.") for name in parameters)
    assert f"initial: began with {len(parameters)} of {len(parameters)} tensors; new are none" in messages.text


def test_a_stylegan_of_a_larger_size_takes_the_resolutions_that_it_shares(style_parent):
    store = toy_store("categorical", 2, side=32)
    trainer, changed, known = begin(style_child(channels=[16, 8, 8]), store, style_parent)
    new = ("synthesis.levels.2.", "discriminator.enter.2.", "discriminator.halve.1.")
    for name, tensor in trainer.model.named_parameters():
        assert name not in changed if name.startswith(new) else torch.equal(tensor, known[name]), name


def test_a_resolution_of_other_channels_is_new(style_parent):
    settings = style_child(channels=[8, 8])
    trainer, changed, known = begin(settings, toy_store("categorical", 2, side=16), style_parent)
    own = dict(trainer.model.named_parameters())
    of_finest = ("synthesis.levels.1.refine.", "synthesis.levels.1.to_bands.", "discriminator.enter.1.", "mapping.")
    assert all(torch.equal(own[name], known[name]) for name in own if name.startswith(of_finest))
    of_coarsest = ("synthesis.start.", "synthesis.levels.0.", "discriminator.score.", "discriminator.halve.0.")
    assert not any(name.startswith(of_coarsest) for name in changed)


def test_masks_that_a_stylegan_parent_did_not_know_change_nothing_at_first(style_parent, messages):
    trainer, _, known = begin(style_child(), toy_store("mask", 2, side=16), style_parent)
    own = dict(trainer.model.named_parameters())
    for name in ("synthesis.levels.1.refine.conv.conv.weight", "discriminator.enter.1.weight"):
        shared = known[name].shape[1]
        assert own[name].shape[1] > shared
        assert torch.equal(own[name][:, :shared], known[name]) and not own[name][:, shared:].any()
    assert "initial: began with" in messages.text


def test_a_grey_stylegan_gives_a_colour_one_all_but_what_touches_pixels(style_parent):
    trainer, changed, known = begin(style_child(), toy_store("categorical", 2, side=16, channels=3), style_parent)
    touching = ("discriminator.enter.", *(f"synthesis.levels.{level}.to_bands.conv" for level in range(2)))
    for name, tensor in trainer.model.named_parameters():
        assert name not in changed if name.startswith(touching) else torch.equal(tensor, known[name]), name


def test_a_stylegan_with_nothing_in_common_is_refused(style_parent):
    settings = style_child(channels=[12, 12], latent_dim=12)
    with pytest.raises(InputError, match=r"initial: none of \d+ tensors is in both models, nothing to begin from"):
        begin(settings, toy_store("categorical", 2, side=16), style_parent)
