"""Route ten days of storms down an invented river, and draw what comes out: `python examples/quickstart.py`."""

import xroute
from xroute.datasets import tutorial
from xroute.plotting import overview

network, ds = tutorial()  # a network Dataset, and runoff(time, reach) in mm h-1
before = xroute.steady_state(network, ds.runoff.isel(time=0), dt="1h")  # rivers that run already
discharge = ds.runoff.route(network, initial_state=before)  # m3 s-1, with the same labels

mouth = network.river.outlets[0]
flood = discharge.sel(reach=mouth)
print(f"The flood reaches the mouth on {flood.idxmax('time').dt.strftime('%d %B, %H:%M').item()}:")
print(f"{float(flood.max()):,.0f} {flood.attrs['units']}")

figure = overview(network, discharge, runoff=ds.runoff, title="Two storms cross an invented basin")
figure.savefig("quickstart.png", dpi=150)
print("Saved quickstart.png")
