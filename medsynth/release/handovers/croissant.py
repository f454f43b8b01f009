"""croissant.json: the release described for machines, as JSON-LD in the vocabulary Croissant of MLCommons.

Files with their digests, a record set over metadata.csv, the properties of responsible AI (RAI 1.0), and in PROV-O
which model, settings and data made the images. It is written as plain JSON: the library `mlcroissant` would bring an
RDF store to every run; tests validate the file by it.

Source: MLCommons Croissant Format Specification 1.0; Croissant RAI 1.0; W3C PROV-O (2013).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from medsynth import __version__
from medsynth.artifacts.released import Released
from medsynth.conditions.column import Column
from medsynth.config.columns import DIGESTS
from medsynth.disk.files import sha256
from medsynth.errors import InputError
from medsynth.release.handovers.form import Contents, HandOver

FILE = "croissant.json"
TABLE = "metadata.csv"
CONFORMS = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
TYPES = {"string": "sc:Text", "integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean"}
ANY = "application/octet-stream"
MEDIA = {
    ".png": "image/png",
    ".gz": "application/gzip",
    ".dcm": "application/dicom",
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".html": "text/html",
    ".parquet": "application/vnd.apache.parquet",
}
TERMS = (
    *("citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
COLLECTION = (
    "No data was collected for it: each image was sampled from a generative model ({family}) that was trained on "
    "{source} images, asked for by the conditions of its row. Samples were rejected where they were too like a "
    "training image, or showed another class than was asked."
)
LIMITATIONS = (
    "A label is what was asked of the generator, not what a reader found. Images repeat the biases of the training "
    "images and add their own. The screening lowers the risk that an image is a copy of a training image and does not "
    "exclude it. README.md has the metrics with their intervals, and gates.csv what the run failed."
)
USES = (
    "Research and teaching: augmenting training sets, testing software, showing examples. Not for diagnosis, nor as "
    "evidence of how a disease looks. A model trained on it must be tested on real images."
)
SENSITIVE = {
    True: "None: the training images were simulated themselves, no patient is in them.",
    False: "No image shows a patient by intent, and no row has one's identity. The generator was trained on images of "
    "patients: the screening for copies does not prove that there is none. real_split.csv names those by digest alone.",
}


def write(contents: Contents) -> None:
    """Describe the folder as it is."""
    info, made_by = contents.info, contents.made_by
    source = "simulated" if info.simulated else "real"
    found = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": contents.title,
        "description": contents.disclaimer,
        "conformsTo": CONFORMS,
        "license": contents.licence.url or contents.licence.text,
        "citeAs": ". ".join(part for part in (contents.title, contents.citation) if part),
        "isLiveDataset": False,
        "keywords": ["synthetic", "medical", info.modality],
        "distribution": list(_distribution(contents)),
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "One row for each image.",
                "key": {"@id": "samples/sample_id"},
                "field": [_field(column) for column in contents.columns],
            }
        ],
        "rai:dataCollection": COLLECTION.format(family=made_by.family, source=source),
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataLimitations": LIMITATIONS,
        "rai:dataUseCases": USES,
        "rai:personalSensitiveInformation": SENSITIVE[info.simulated],
        "prov:wasGeneratedBy": _activity(contents, source),
    }
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    (contents.folder / FILE).write_text(text, encoding="utf-8")


def _activity(contents: Contents, source: str) -> dict[str, Any]:
    """The sampling, by what and from what (PROV-O: an activity that used entities)."""
    made_by = contents.made_by

    def entity(name: str, digest: str, description: str) -> dict[str, Any]:
        return {"@type": "prov:Entity", "@id": f"urn:sha256:{digest}", "name": name, "sc:description": description}

    data = entity("training data", made_by.training_data, contents.citation or f"{source} images, licence as stated")
    generator = entity("generator", made_by.generator, f"Weights of a model of the family {made_by.family}")
    return {
        "@type": "prov:Activity",
        "name": "sampling",
        "sc:description": "Each image from its own seed, the column seed of metadata.csv",
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "name": "medsynth", "sc:version": __version__},
        "prov:used": [
            {**generator, "prov:wasDerivedFrom": data},
            entity("generator.json", made_by.config, "How the generator was trained and sampled, its seed among it"),
        ],
    }


def _distribution(contents: Contents) -> Iterator[dict[str, Any]]:
    """A file object for each file of the folder itself, and a set for the files of each folder in it."""
    for path in sorted(contents.folder.iterdir()):
        if path.is_file():
            yield {
                "@type": "cr:FileObject",
                "@id": path.name,
                "name": path.name,
                "contentUrl": path.name,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": MEDIA.get(path.suffix, ANY),
                "sha256": sha256(path),
            }
        elif suffixes := sorted({file.suffix for file in path.rglob("*") if file.is_file()}):
            yield {
                "@type": "cr:FileSet",
                "@id": path.name,
                "name": path.name,
                "includes": f"{path.name}/**",
                "encodingFormat": MEDIA.get(suffixes[0], ANY) if len(suffixes) == 1 else ANY,
            }


def _field(column: Column) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column.name}",
        "name": column.name,
        "description": column.description + (f" ({column.unit})" if column.unit else ""),
        "dataType": TYPES[column.type],
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": column.name}},
    }


def check(released: Released) -> Iterator[str]:
    """Its files, columns and origins are those of the folder, and it says that the images are synthetic."""
    try:
        found = json.loads((released.folder / FILE).read_text(encoding="utf-8"))
        objects = {each["@id"]: each for each in found["distribution"] if each["@type"] == "cr:FileObject"}
        fields = {each["name"]: each for each in found["recordSet"][0]["field"]}
        origins = {each["@id"].removeprefix("urn:sha256:") for each in found["prov:wasGeneratedBy"]["prov:used"]}
        if "synthetic" not in found["keywords"]:
            yield f"{FILE}: does not say of itself that it is synthetic, expected the keyword"
        if not found["license"]:
            yield f"{FILE}: states no licence"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{FILE}: does not describe a release ({type(error).__name__}: {error})") from None
    own = {name for name in released.digests if "/" not in name} - {FILE}
    yield from (f"{FILE}: does not list {name}" for name in sorted(own - objects.keys()))
    for name, each in objects.items():
        if each.get("sha256") != released.digests.get(name):
            yield f"{FILE}: {name} has another sha256"
    expected = {column.name: _field(column) for column in released.columns}
    for name in sorted(expected.keys() | fields.keys()):
        if expected.get(name) != fields.get(name):
            yield f"{FILE}: does not describe the column {name} as metadata.schema.json does"
    made_by = {digest for name in DIGESTS[:2] for digest in released.table[name]}
    if made_by - origins:
        yield f"{FILE}: names another generator or other settings than metadata.csv"


CROISSANT = HandOver(
    FILE,
    f"`{FILE}`: files, columns, licence, limits and origin, for programs (MLCommons Croissant).",
    write,
    check,
    describes_all=True,
)
