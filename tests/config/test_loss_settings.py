import hashlib

import pytest

from medsynth import config
from medsynth.config.families.diffusion import Diffusion
from medsynth.config.losses import Anatomical, Loss, Perceptual
from medsynth.errors import InputError

DIGEST = hashlib.sha256(b"tensors").hexdigest()


def parsed(losses) -> Diffusion:
    return config.parse(Diffusion, {"family": "diffusion", "losses": losses}, "m")


def test_each_loss_has_the_settings_of_its_name():
    losses = parsed({name: {"weight": 1} for name in ("edge", "perceptual", "anatomical")}).losses
    assert {name: type(loss) for name, loss in losses.items()} == {
        "edge": Loss,
        "perceptual": Perceptual,
        "anatomical": Anatomical,
    }


def test_weights_get_the_digest_of_their_file_and_keep_it(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"tensors")
    model = parsed({"perceptual": {"weight": 1, "weights": str(path)}})
    assert model.losses["perceptual"].sha256 == DIGEST
    path.unlink()  # a step is told the digest, and sampling needs no file
    settings = config.TrainSettings(seed=0, model=model)
    assert config.parse_json(config.TrainSettings, settings.model_dump_json(), "").model.losses == model.losses


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"edg": {"weight": 1}}, r"m: losses: unknown loss 'edg', did you mean 'edge'\?"),
        ({"edge": {"weight": 0}}, r"m: losses\.edge\.weight: Input should be greater than 0, got 0$"),
        ({"edge": {"weight": 1, "weights": "w"}}, r"m: losses\.edge: unknown key 'weights', did you mean 'weight'\?"),
        ({"perceptual": {}}, r"m: losses\.perceptual\.weight: Field required"),
        (
            {"perceptual": {"weight": 1, "weights": "no/w"}},
            r"weights no/w: cannot be read \(No such file or directory\)",
        ),
        ({"perceptual": {"weight": 1, "sha256": DIGEST}}, "sha256 is of weights, and there are none"),
        ({"anatomical": 1}, r"m: losses\.anatomical: Input should be a valid dictionary"),
        (["edge"], r"m: losses: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_loss_is_named_in_one_line(losses, message):
    with pytest.raises(InputError, match=message) as caught:
        parsed(losses)
    assert "\n" not in str(caught.value) and ";" not in str(caught.value)


def test_a_loss_that_needs_masks_is_refused_for_a_dataset_without():
    dataset = {"source": {"kind": "phantom", "phantom": "chest_xray", "count": 20}, "modality": "chest_xray"}
    dataset |= {"size": [64, 64], "label": "x", "conditions": {"x": {"kind": "categorical", "values": ["a", "b"]}}}
    dataset |= {"plan": {"request": {"kind": "per_class", "column": "x", "counts": {"a": 1}}}}
    models = {"m": {"family": "diffusion", "losses": {"anatomical": {"weight": 0.1}}}}
    expected = (
        r"datasets\.d and models\.m: losses\.anatomical needs a condition of kind mask, the dataset has categorical$"
    )
    with pytest.raises(InputError, match=expected):
        config.parse(config.Config, {"datasets": {"d": dataset}, "models": models}, "c.yaml")
