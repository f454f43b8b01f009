"""Whether a latent diffusion model fits is known once the size of the images and its autoencoder are."""

import pytest

from medsynth import config
from medsynth.errors import InputError
from tests.config.test_config import changed


def parsed(**latent) -> config.Config:
    models = {
        "coder": {"family": "vae"},
        "l": {"family": "latent_diffusion", "parents": {"autoencoder": "coder"}, **latent},
    }
    return config.parse(config.Config, changed("models", models), "c.yaml")


def test_stages_that_do_not_divide_the_latent_are_refused_when_the_configuration_is_read():
    parsed(stages=[{"channels": [8, 8]}])
    with pytest.raises(InputError, match=r"datasets\.d and models\.l: images of .* latents of .* not divisible by 64"):
        parsed(stages=[{"channels": [8] * 7}])


def test_it_needs_an_autoencoder():
    with pytest.raises(InputError, match="parents has no autoencoder"):
        parsed(parents={})
    with pytest.raises(InputError, match="autoencoder 'l' is not a vae or vaegan model"):
        parsed(parents={"autoencoder": "l"})
