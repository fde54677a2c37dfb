"""The command `patn-augment table`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from augment.commands.echo import echo
from augment.commands.grammar import command, figures
from augment.commands.options import DEVICE, FOLDER, parse_shard, ray_options, take_cluster, worker_device
from reid_eval.runtime import InputError


@command("Evaluate")
@click.argument("recipe")
@click.option("--out", type=FOLDER, help="Folder of records, folders and the table; --dry-run can do without.")
@click.option("--weights", multiple=True, help="A generator in place of the recipe's; several give a row each.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value, such as seeds=[0,1].")
@DEVICE
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that share this machine."
)
@click.option("--shard", metavar="I/N", help="Do the I-th of N parts (I from 0). Default: torchrun's rank, or all.")
@click.option("--max-seconds", type=click.FloatRange(min=1), help="Start no new training after this time.")
@click.option("--dry-run", is_flag=True, help="Print the trainings and an estimate of their time; do none.")
@ray_options
def table(
    recipe: str,
    out: Path | None,
    weights: tuple[str, ...],
    overrides: tuple[str, ...],
    device: str,
    jobs: int,
    shard: str | None,
    max_seconds: float | None,
    dry_run: bool,
    **ray: Any,
) -> None:
    """Fill a table of re-ID scores: methods by share of real images, networks and seeds.

    RECIPE is a YAML file or the name of a table that ships. Each training leaves a record in --out; the same command
    goes on where a killed one stopped.

    \b
    patn-augment table table_quick --out runs/table-quick
    patn-augment table table_market1501 --out runs/table --set data.root=Market-1501
    """
    if out is None and not dry_run:
        raise InputError("give --out, the folder of records, folders and the table: the same command goes on there")
    cluster = take_cluster(ray)
    if cluster is not None and jobs > 1:
        raise InputError("--jobs is for this machine, --ray-workers for --ray: leave one of them out")
    device = worker_device(device, cluster)
    from augment.cluster.ray_table import RayComputing
    from augment.table.run import run_table, table_figures
    from augment.table.table_recipe import load_table

    study = run_table(
        load_table(recipe, overrides, weights),
        out,
        echo,
        device=device,
        jobs=jobs if cluster is None else cluster.workers or 1,
        shard=parse_shard(shard) if shard else None,
        max_seconds=max_seconds,
        dry_run=dry_run,
        computing=None if cluster is None else RayComputing(cluster),
    )
    figures(table_figures(study))
