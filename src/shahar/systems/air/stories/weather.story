story   The weather comes from a model and from a mountain, each in its own units
day     2025-12-16
device  city     air.open-meteo
device  mountain air.wyres

16:00   uplink city open-meteo-hour.json
16:00   expect city windSpeed = 11.2 KMH
16:00   expect city atmosphericPressure = 968.6 A97
16:10   uplink mountain wyres-full.json
16:10   expect mountain temperature = 24.85 CEL
16:10   expect mountain batteryVoltage = 3497 2Z
16:20   uplink mountain wyres-status.json                    # radio and battery of the device, no measurement
16:20   expect mountain temperature age 10 min
26:10   expect mountain temperature age 10 h
