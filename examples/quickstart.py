"""Route ten days of storms down an invented river: `python examples/quickstart.py`."""

import xroute
from xroute.datasets import tutorial

network, ds = tutorial()  # a network Dataset, and runoff(time, reach) in mm h-1
discharge = ds.runoff.route(network)  # m3 s-1, with the same labels

mouth = xroute.Network(network).outlets[0]
flood = discharge.sel(reach=mouth)
print(f"The flood reaches the mouth on {flood.idxmax('time').dt.strftime('%d %B, %H:%M').item()}:")
print(f"{float(flood.max()):,.0f} {flood.attrs['units']}")
