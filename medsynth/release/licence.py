"""The licence of a release, as it is stated to people and to programs: an SPDX identifier, a URL, or words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from medsynth.errors import InputError

URL = re.compile(r"https?://\S+", re.IGNORECASE)
# Of the SPDX identifiers, those that Hugging Face lists for data, in lower case (Hub documentation, "Licenses").
HUB = re.compile(
    r"cc0-1\.0|cc-by-[234]\.0|cc-by-sa-[34]\.0|cc-by-nc(-sa|-nd)?-[34]\.0|cc-by-nd-4\.0|pddl|apache-2\.0|mit"
    r"|cdla-sharing-1\.0|cdla-permissive-[12]\.0"
)


@dataclass(frozen=True)
class Licence:
    """What the configuration states.

    Attributes:
        text: as it is printed; an SPDX expression in its canonical letters.
        spdx: whether it is one.
    """

    text: str
    spdx: bool

    @property
    def url(self) -> str | None:
        """Where it can be read; None of words, of several licences, and of one of its owner's own (`LicenseRef-`)."""
        if self.spdx:
            single = " " not in self.text and not self.text.startswith("LicenseRef-")
            return f"https://spdx.org/licenses/{self.text}.html" if single else None
        return self.text if URL.fullmatch(self.text) else None

    def front_matter(self) -> list[str]:
        """Lines of the card's front matter, by which Hugging Face shows it."""
        if self.spdx and HUB.fullmatch(self.text.lower()):
            return [f"license: {self.text.lower()}"]
        named = ["license: other", "license_name: " + (self.text.replace(" ", "-").lower() if self.spdx else "stated")]
        return [*named, f"license_link: {json.dumps(self.url or 'README.md')}"]


def licence_of(stated: str | None, dataset: str) -> Licence:
    """The licence that a dataset states.

    Raises:
        InputError: it states none.
    """
    if not stated:
        raise InputError(
            f"release: no licence is stated, expected datasets.{dataset}.licence in the configuration: an SPDX "
            "identifier (CC-BY-4.0), a URL, or a sentence that says what the owner of the images allows"
        )
    try:
        return Licence(str(canonicalize_license_expression(stated)), spdx=True)
    except InvalidLicenseExpression:
        return Licence(" ".join(stated.split()), spdx=False)
