import pytest

from tests.prepare.test_prepare import Collection


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path)
