"""What a step will need, from the configuration and the tables alone: how many images there are, and what each takes.

What the figures rest on: 4,000 real images of 128 x 128 and 4,000 asked for in four shards (131 MB each) took evaluate
1.2 GB (0.9 of its own, the rest maps the store) and 127 s, release 0.33 GB and 7 s, on two cores. An image costs
evaluate 16 KB while its reader learns, 14 in the search for copies, 10 as features; shards are mapped and
read a few images at a time; 4,000 features on each side, the most, add kernels of 128 MB each. Minutes are several times what
two cores took, and every attempt after a failure gets as much again.
"""

import csv
import functools
import math
from collections import Counter
from contextlib import suppress


@functools.cache
def real_images(dataset: str) -> int:
    source = CONFIG.datasets[dataset].source
    return lines(source) if table_of(source) else source.count


@functools.cache
def images_asked(dataset: str) -> int:
    """Exactly, or, where training rows decide, about: that they are split as configured, and none is bad."""
    request = CONFIG.datasets[dataset].plan.request
    if isinstance(request, schema.PerClass):
        return sum(request.counts.values())
    if isinstance(request, schema.PlanTable):
        return lines(request)
    present = [CONFIG.datasets[dataset].split.train * count for count in class_counts(dataset, request.column)]
    wanted, times = (max(present), 1) if isinstance(request, schema.Balance) else (request.minimum, request.limit)
    return math.ceil(sum(times * max(0, wanted - count) for count in present))


def class_counts(dataset: str, column: str) -> list[float]:
    """How many real images each value of a column has; in phantoms, all alike."""
    source, values = CONFIG.datasets[dataset].source, CONFIG.datasets[dataset].conditions[column].values
    if not table_of(source):
        return [source.count / len(values)] * len(values)
    counts = Counter()
    with open(*table_of(source), encoding="utf-8-sig", errors="replace", newline="") as table:
        delimiter = max(",;\t", key=table.readline().count)
        table.seek(0)
        with suppress(csv.Error):  # what is wrong with a table, prepare says
            counts.update(row.get(column) for row in csv.DictReader(table, delimiter=delimiter))
    return [counts[value] for value in values]


def lines(source) -> int:
    """How many lines the table of a source or a request has, its header among them."""
    with open(*table_of(source), "rb") as table:
        return sum(1 for _ in table)


def megabytes(dataset: str, images: float) -> float:
    """What so many images of a dataset take in the store, in shards and in memory: uint16."""
    return 2e-6 * images * math.prod(CONFIG.datasets[dataset].image_shape)


def growing(base: float, stored: float = 0, asked: float = 0, shard: float = 0, image: float = 0, real: float = 0):
    """A resource that grows with the dataset, and with every attempt after a failure.

    Args:
        stored, asked, shard: for every MB of the real images, of those asked for, and of those of one shard.
        image: for every image, real or asked for; real: for every real one.
    """

    @functools.cache
    def first(dataset: str) -> int:
        count = real_images(dataset)
        wanted = images_asked(dataset) if asked or shard or image else 0  # other steps need not have the plan's table
        of_real, of_wanted = megabytes(dataset, count), megabytes(dataset, wanted)
        of_shard = of_wanted / CONFIG.datasets[dataset].plan.shards
        return round(
            base + stored * of_real + asked * of_wanted + shard * of_shard + image * (count + wanted) + real * count
        )

    return lambda wildcards, attempt: attempt * first(wildcards.dataset)


def training_minutes(wildcards) -> int:
    """Several times what two cores need. A later attempt goes on from the checkpoint, and needs no longer."""
    model = CONFIG.models[wildcards.model]
    pixels = model.training.images * model.cost(CONFIG.datasets[wildcards.dataset].size)
    by_images, by_clock = pixels / 1e5 / 60, 1.5 * (model.training.minutes or math.inf)
    return math.ceil(30 + min(by_images, by_clock))


def tuning_minutes(wildcards, attempt) -> int:
    """A later setting can take several times as many network calls as the configured one."""
    tuning = CONFIG.models[wildcards.model].tuning
    pixels = (1 + tuning.candidates) * tuning.images * math.prod(CONFIG.datasets[wildcards.dataset].size)
    return attempt * math.ceil(20 + pixels / 3e4 / 60)


def membership_minutes(wildcards, attempt) -> int:
    """A score of an image, or a step that learns one, takes no more network calls than a sample."""
    options = CONFIG.membership
    images = min(real_images(wildcards.dataset), 3 * options.subjects * options.images)
    pixels = (images + 2 * options.canaries * options.repeats) * math.prod(CONFIG.datasets[wildcards.dataset].size)
    return attempt * math.ceil(20 + pixels / 3e4 / 60)


def reference_minutes(wildcards, attempt) -> int:
    """The reader goes by epochs and images, the features by images, the search for copies by pairs of images."""
    real = real_images(wildcards.dataset)
    seconds = 0.005 * CONFIG.judges.reader_epochs * real + looking_seconds(wildcards.dataset, real)
    return attempt * math.ceil(20 + seconds / 60)


def evaluation_minutes(wildcards, attempt) -> int:
    return attempt * math.ceil(20 + looking_seconds(wildcards.dataset, images_asked(wildcards.dataset)) / 60)


def looking_seconds(dataset: str, images: int) -> float:
    """Features of so many images, each of one picture or a volume's 12 slices, and their likeness to each real one."""
    pictures = 12 if len(CONFIG.datasets[dataset].size) == 3 else 1
    channels = CONFIG.datasets[dataset].image_shape[0]
    return 0.03 * pictures * images + 2e-6 * channels * real_images(dataset) * images


def launcher(wildcards, threads, resources) -> str:
    """What starts a training: Python, torchrun with GPUs of its own for several processes on one machine, or srun, as
    `mpi`, on many.

    Snakemake sees that it follows from resources, and trains nothing anew for another number of processes.
    """
    if resources.get("mpi"):
        return f"{resources.mpi} python"
    if resources.processes == 1:
        return "python"
    each = max(1, threads // resources.processes)
    return f"env OMP_NUM_THREADS={each} python -m medsynth.machine.launch {resources.processes}"
