story   A sensor that sends no climate for once keeps its last one, and the frame of settings says nothing
day     2023-04-01
device  tower buildings.elsys-ems

10:00   uplink tower ems-first.json
10:30   uplink tower ems-without-climate.json
10:30   expect tower temperature = 7 CEL
10:30   expect tower relativeHumidity = 83 P1
10:30   expect tower temperature age 30 min
10:30   expect tower batteryVoltage age 0 min
10:31   uplink tower ems-settings.json
10:31   expect tower batteryVoltage age 1 min
