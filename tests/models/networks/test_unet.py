import pytest
import torch

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Number
from medsynth.models.networks.blocks import Attention, ConditionEmbedding, ResidualBlock
from medsynth.models.networks.unet import UNet


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_in_two_and_three_dimensions(dims):
    net = UNet(dims, 3, 5, (8, 16, 16), 2, 12)
    assert net(torch.randn(2, 3, *[8] * dims), torch.randn(2, 12)).shape == (2, 5, *[8] * dims)


def test_residual_branches_start_as_the_identity():
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(ResidualBlock(2, 16, 16, 8)(x, torch.randn(2, 8)), x)
    torch.testing.assert_close(Attention(16)(x), x)


def test_every_parameter_is_used():
    net = UNet(2, 1, 1, (8, 16), 2, 12)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    net(torch.randn(2, 1, 8, 8), torch.randn(2, 12)).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


def test_missing_and_not_applicable_have_tokens_of_their_own_and_hide_the_value():
    import pandas as pd

    schema = ConditionSchema(
        {
            "pathology": Categorical(kind="categorical", values=("a", "b")),
            "age": Number(kind="number", range=(0, 9)),
        },
        2,
    )
    embed = ConditionEmbedding(schema, 16)

    def vector(pathology: str, age: str) -> torch.Tensor:
        return embed(schema.encode(pd.DataFrame({"pathology": [pathology], "age": [age]})))[0]

    states = [
        vector("a", "3"),
        vector("b", "3"),
        vector("a", ""),
        vector("a", "n/a"),
        vector("", "3"),
        vector("a", "4"),
    ]
    distances = torch.cdist(torch.stack(states), torch.stack(states)) + torch.eye(len(states))
    assert distances.min() > 0.01
