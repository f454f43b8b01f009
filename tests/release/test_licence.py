"""A licence is required before anything is released, and is stated to people and to programs."""

from pathlib import Path

import pytest
import yaml

from medsynth import config
from medsynth.errors import InputError
from medsynth.release.licence import licence_of
from medsynth.release.release import release
from tests.release.toys import AS_PNG, as_files, make_samples, make_store

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("stated", "front", "url"),
    [
        ("cc-by-sa-4.0", {"license": "cc-by-sa-4.0"}, "https://spdx.org/licenses/CC-BY-SA-4.0.html"),
        ("MIT", {"license": "mit"}, "https://spdx.org/licenses/MIT.html"),
        (
            "OGL-UK-3.0",
            {
                "license": "other",
                "license_name": "ogl-uk-3.0",
                "license_link": "https://spdx.org/licenses/OGL-UK-3.0.html",
            },
            "https://spdx.org/licenses/OGL-UK-3.0.html",
        ),
        (
            "MIT or CC0-1.0",
            {"license": "other", "license_name": "mit-or-cc0-1.0", "license_link": "README.md"},
            None,
        ),
        (
            "LicenseRef-hospital",
            {"license": "other", "license_name": "licenseref-hospital", "license_link": "README.md"},
            None,
        ),
        (
            "https://example.org/terms#2",
            {"license": "other", "license_name": "stated", "license_link": "https://example.org/terms#2"},
            "https://example.org/terms#2",
        ),
        ("research only: ask us", {"license": "other", "license_name": "stated", "license_link": "README.md"}, None),
    ],
)
def test_an_identifier_a_url_or_words(stated, front, url):
    licence = licence_of(stated, "toy")
    assert yaml.safe_load("\n".join(licence.front_matter())) == front
    assert licence.url == url


def test_data_without_a_licence_is_not_released(tmp_path):
    settings = AS_PNG.model_copy(update={"licence": None})
    with pytest.raises(InputError, match=r"no licence is stated, expected datasets\.toy\.licence in the configuration"):
        release(settings, make_store(), **make_samples(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_phantom_has_a_licence_of_its_own_and_a_table_none():
    phantom = config.load(ROOT / "config/tiny.yaml")
    assert phantom.release("tiny").licence == "CC0-1.0"
    values = phantom.model_dump(mode="json")
    values["datasets"]["tiny"]["licence"] = " CC-BY-4.0 "
    assert config.parse(config.Config, values, "test").release("tiny").licence == "CC-BY-4.0"
    values["datasets"]["tiny"] |= {"licence": None, "source": {"kind": "table", "table": "samples.csv"}}
    assert config.parse(config.Config, values, "test").release("tiny").licence is None
    values["datasets"]["tiny"]["licence"] = " "
    with pytest.raises(InputError, match=r"datasets\.tiny\.licence: .*at least 1 character"):
        config.parse(config.Config, values, "test")


def test_the_front_matter_of_the_card_names_it(tmp_path):
    settings = as_files(formats=("png",), licence="https://example.org/terms")
    release(settings, make_store(), **make_samples(), out=tmp_path / "out")
    front = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    assert front["license_link"] == "https://example.org/terms"
