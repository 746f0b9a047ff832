story   Water on the probe is seen, and so is a dry probe
day     2026-01-15
device  cellar buildings.json

06:00   says   cellar {"leak": 0, "temperature": 12.5, "battery": 3.1}
06:00   expect cellar waterLeak = 0 C62
06:20   says   cellar {"leak": 255, "temperature": 12.0}
06:20   expect cellar waterLeak = 255 C62
06:20   expect cellar batteryVoltage age 20 min
06:20   expect cellar co2 absent
06:21   refuse cellar {"leak": "wet"}
06:21   refuse cellar [255]
07:00   says   cellar {"leak": 0}
07:00   expect cellar waterLeak = 0 C62
