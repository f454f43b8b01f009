"""A variational autoencoder whose reconstructions and samples a patch discriminator sees (Larsen et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from medsynth.config.families.vaegan import Vaegan
from medsynth.config.family import Family
from medsynth.models.conditioning import Conditioning
from medsynth.models.contract import Batch, ImageSpec, Phase
from medsynth.models.families.vae import VaeModel
from medsynth.models.losses.pairing import without_gradients
from medsynth.models.stylegan.augmentation import augmented_pairs
from medsynth.models.vae.patches import PatchDiscriminator, hinge_discriminator, hinge_generator

MOST = 1e4  # of the adaptive weight (Esser et al. 2021, their code; Eq. 7 has no bound)
LEAST = 1e-6  # of the norm that it divides by: delta of Eq. 7
BETAS = (0.5, 0.9)  # of the discriminator


class VaeganModel(VaeModel):
    """Encoder, prior and decoder, and from a share of the budget on a discriminator."""

    scores_its_loss = False

    def __init__(self, settings: Vaegan, spec: ImageSpec, parents: Mapping[str, Family]) -> None:
        super().__init__(settings, spec, parents)
        self.adversary = settings
        self.discriminator = PatchDiscriminator(settings, spec)
        discriminate = Phase("discriminator", ("discriminator",), 2.0, BETAS, start=settings.adversarial_start)
        self.phases = (*VaeModel.phases, discriminate)
        self.term_weights = {**self.term_weights, "adversarial": settings.adversarial_weight, "adaptive": 0.0}

    def loss(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        assert batch.image is not None
        conditioning = self.lesson(batch)
        if phase == "discriminator":
            with torch.no_grad():
                made = [self.attempt(batch.image, conditioning).image, self.drawn(conditioning)]
            (real, *seen), told = self.shown([batch.image, *made], conditioning)
            scores = self.discriminator(real, told)
            losses = [hinge_discriminator(scores, self.discriminator(each, told)) for each in seen]
            return {"discriminator": torch.stack(losses).mean(0)}
        attempt = self.attempt(batch.image, conditioning)
        terms = self.bound(batch, attempt)
        if batch.progress >= self.adversary.adversarial_start:
            seen, told = self.shown([attempt.image, self.drawn(conditioning)], conditioning)
            with without_gradients(self.discriminator):
                scores = [hinge_generator(self.discriminator(each, told)) for each in seen]
            adversarial = torch.stack(scores).mean(0)
            weight = self.adaptive_weight(terms["reconstruction"], adversarial)
            terms |= {"adversarial": weight * adversarial, "adaptive": weight.expand(len(batch)).clone()}
        return terms

    def drawn(self, conditioning: Conditioning) -> Tensor:
        """Images of the prior, (N, C, *spatial); the decoder alone learns from them, the prior follows the encoder."""
        count, device = len(conditioning.condition), conditioning.planes.device
        with torch.no_grad():
            latent = self.prior.draw(lambda shape: torch.randn(count, *shape, device=device), conditioning)
        return self.decoder(latent, conditioning)

    def shown(self, images: list[Tensor], conditioning: Conditioning) -> tuple[list[Tensor], Conditioning]:
        """Images as the discriminator sees them: all augmented alike (Zhao et al. 2020), with what is drawn of them."""
        changed, planes = augmented_pairs(images, conditioning.planes, self.adversary.discriminator_augmentation)
        return changed, replace(conditioning, planes=planes)

    def adaptive_weight(self, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        """The ratio of the norms of both terms' gradients at the decoder's last layer (Esser et al. 2021, Eq. 7)."""
        if not (self.adversary.adaptive_weight and torch.is_grad_enabled()):
            return torch.ones((), device=adversarial.device)
        last = self.decoder.leave.get_parameter("weight")
        norms = [
            torch.autograd.grad(term.mean(), last, retain_graph=True)[0].norm()
            for term in (reconstruction, adversarial)
        ]
        return (norms[0] / (norms[1] + LEAST)).clamp(max=MOST).detach()

    def score(self, batch: Batch) -> Tensor | None:
        """As of `VaeModel`; None as long as the discriminator is not heard, so that no state from before it is kept."""
        return None if batch.progress < self.adversary.adversarial_start else super().score(batch)
