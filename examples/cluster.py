"""Route an ensemble on the workers of a Dask cluster, from Zarr to Zarr: `python examples/cluster.py [FOLDER]`.

The cluster is two processes of this machine. Put `Client("tcp://SCHEDULER:8786")` in its place, and folders that all workers
see. The network and its storms are invented. Whatever ends the run, the same call goes on after its last checkpoint.
"""

import sys
from pathlib import Path

import xarray as xr
from distributed import Client, LocalCluster
from matplotlib import pyplot

import xroute


def main(folder: Path) -> None:
    """Make runoff, route it on the workers, and draw what came out."""
    folder.mkdir(parents=True, exist_ok=True)

    # What you have: a network, and runoff in chunks of all reaches and some hundred steps
    network = xroute.datasets.tutorial()[0]
    runoff = xroute.datasets.storm_runoff(network, 20 * 24, members=20, start="2024-05-01", seed=5)
    xroute.io.write(network, folder / "network.zarr", overwrite=True)
    chunked = runoff.chunk(member=5, time=120, reach=-1).to_dataset(name="runoff")
    xroute.io.write(chunked, folder / "runoff.zarr", overwrite=True)

    # Each block of time goes to the workers as tasks, a group of members each; states are handed on
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="ERROR")
    with cluster, Client(cluster) as client:
        source = xr.open_zarr(folder / "runoff.zarr").runoff
        discharge = xroute.route_to_zarr(source, network, folder / "discharge.zarr", mode="w", progress=False)
        highest = discharge.max("time").compute()  # on the workers, too
        print(f"{len(client.scheduler_info()['workers'])} workers routed {dict(discharge.sizes)}")

    # The answer does not depend on who computes it
    alone = runoff.isel(member=0).route(network, device="cpu")
    print(f"the same bits as without a cluster: {bool((discharge.isel(member=0).load() == alone).all())}")

    mouth = xroute.Network(network).outlets[0]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.5), layout="constrained", width_ratios=(1.5, 1))
    discharge.sel(reach=[mouth]).load().route.hydrograph({mouth: "mouth"}, left, members=True)
    spread = highest.max("member") / highest.median("member")
    spread = spread.assign_attrs(long_name="highest peak over the median one", units="1")
    network.river.plot(spread, ax=right)
    figure.suptitle("20 members, routed by two workers")
    figure.savefig(folder / "cluster.png", dpi=120)
    print(f"Saved {folder / 'cluster.png'} and {folder / 'discharge.zarr'}")


if __name__ == "__main__":  # workers are processes that read this file, too, and must not begin clusters of their own
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "cluster"))
