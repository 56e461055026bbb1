"""Route a RAPID folder, and compare with RAPID's own discharge if it is there: `python examples/rapid_replacement.py [FOLDER]`.

The folder is that of RAPID or RAPID2, as it is. Without one, an invented one is made, with the discharge that RAPID gives.
"""

import sys
from pathlib import Path

import numpy as np

import xroute
from xroute.io import rapid, rapid2, write_discharge
from xroute.io.rapid_setup import find_setup, read_setup
from xroute.plotting import choose_gauges

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else xroute.datasets.rapid_folder("rapid", overwrite=True)
setup = read_setup([folder])  # the network with the namelist's steps, and runoff in its order
network, runoff = setup.network, setup.runoff["runoff"]
discharge = runoff.route(network)  # as RAPID does

print(f"{folder}: {network.sizes['reach']} reaches, {runoff.sizes['time']} steps")
write_discharge(discharge, "discharge.nc", network=network, overwrite=True)

gauges = choose_gauges(network)
theirs = None
if "discharge" in find_setup(folder):
    reader = rapid2 if rapid2.is_rapid2(folder) else rapid
    theirs = reader.read_discharge(folder, network)
    if not np.array_equal(theirs["time"], discharge["time"]):  # some files of RAPID have no dates
        theirs = theirs.assign_coords(time=discharge["time"])
    off, largest = float(abs(discharge - theirs).max()), float(theirs.max())
    print(f"RAPID's discharge is {largest:,.1f} m3 s-1 at most, and differs by {off:.1e} at most: a part of {off / largest:.0e}")
else:
    print("There is no Qout to compare with.")

axes = discharge.route.hydrograph(gauges, observed=None if theirs is None else theirs.sel(reach=list(gauges)))
figure = np.ravel(axes)[0].figure
figure.suptitle("Lines: xroute" + ("" if theirs is None else "; dots: RAPID"))
figure.savefig("rapid_replacement.png", dpi=150)
print("Saved rapid_replacement.png and discharge.nc")
